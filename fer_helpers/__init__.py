"""Helpers for the facial-emotion notebooks.

Importing this package loads nothing heavy. Import the module you need::

    from fer_helpers import dataset, models, plotting, training
"""

__version__ = "0.1.0"
