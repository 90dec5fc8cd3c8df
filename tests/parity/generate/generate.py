"""Writes the golden values of the parity tests: see README.md.

    generate.py             every family
    generate.py margin ...  these families
"""

import importlib
import sys

import torch

from cases import write

FAMILIES = (
    "margin",
    "rivals",
    "adaptive",
    "center",
    "distance",
    "classification",
    "linear",
    "regression",
    "pairwise",
    "softmax_pairs",
    "proxy",
    "regularization",
)


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    for family in sys.argv[1:] or FAMILIES:
        write(family, importlib.import_module(family).cases())


if __name__ == "__main__":
    main()
