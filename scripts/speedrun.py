"""The documented name of the command in scripts/docs/speedrun.py."""

from scripts.docs.speedrun import main

if __name__ == "__main__":
    main()
