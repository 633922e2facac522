"""The version, for the package and for whoever asks ``gradkit.__version__``."""

__version__ = "0.1.0"
