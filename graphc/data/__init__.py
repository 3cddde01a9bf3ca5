"""Data sets for training, standardisation and splitting."""

from graphc.data.dataset import Dataset, arrays
from graphc.data.scaling import Standardizer, standardize
from graphc.data.splitting import split

__all__ = ["Dataset", "Standardizer", "arrays", "split", "standardize"]
