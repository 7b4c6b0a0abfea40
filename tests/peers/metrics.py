"""Reads metrics as the reference library of Prometheus does, and lists what it found.

    metrics.py openmetrics|plain < METRICS

Prints `TYPE NAME SAMPLES` of each family; ends with exit code 1 and the parser's words when the text is not valid.
"""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

parse = {"openmetrics": openmetrics, "plain": plain}[sys.argv[1]]
for family in parse(sys.stdin.read()):
    print(family.type, family.name, len(family.samples))
