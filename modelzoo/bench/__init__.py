"""How fast a bundle is on this machine, and how near that is to what the machine can do.

`bench` measures; `draw` makes a chart of what it found. Both need the device side only, the chart
matplotlib as well. Every figure is of this machine at this moment: compare within one run.
"""

from modelzoo.bench.chart import check_chart, draw
from modelzoo.bench.report import bench

__all__ = ["bench", "check_chart", "draw"]
