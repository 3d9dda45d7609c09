"""The PurdueShapes files: reading them, safely, and drawing more of their kind."""
