# Sourced from the repository's root: finds installations of services beside the checkout, unless others are named.
if [ -z "${KAFKA_HOME:-}" ] && [ -x ../shared/kafka/bin/kafka-server-start.sh ]; then
  KAFKA_HOME=$(cd ../shared/kafka && pwd)
  export KAFKA_HOME
fi
if [ -z "${SCHEMA_REGISTRY_HOME:-}" ] && [ -x ../shared/schema-registry/bin/schema-registry-start.sh ]; then
  SCHEMA_REGISTRY_HOME=$(cd ../shared/schema-registry && pwd)
  export SCHEMA_REGISTRY_HOME
fi
