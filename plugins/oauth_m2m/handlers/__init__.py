"""The plugin's endpoints, one module each; every module ends with its routes."""
