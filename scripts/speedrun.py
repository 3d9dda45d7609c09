"""The documented name of the command in scripts/docs/recipes.py."""

from scripts.docs.recipes import main

if __name__ == "__main__":
    main()
