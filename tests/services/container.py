"""Runs Apache Kafka in a container for as long as this process lives: container.py PORT"""

import signal
import sys

from testcontainers.community.kafka import KafkaContainer


def main(port: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with KafkaContainer().with_kraft().with_bind_ports(9093, port):
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]))
