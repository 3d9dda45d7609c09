"""The documented name of the command in scripts/benchmark/scaling.py."""

from scripts.benchmark.scaling import main

if __name__ == "__main__":
    main()
