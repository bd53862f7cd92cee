"""`python -m stream_mtl` is the command `stream-mtl`."""

from stream_mtl.cli import main

if __name__ == "__main__":
    main()
