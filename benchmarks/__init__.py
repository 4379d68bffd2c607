"""Benchmarks, each run from a checkout as `python -m benchmarks.FOLDER.NAME`.

`edge` measures bundles on a device, `peers` other libraries, `training` models on real data, and
`house` the package itself. Each run writes `results/NAME.json`; `python -m benchmarks.render` makes
`docs/benchmarks.md` of these files.
"""
