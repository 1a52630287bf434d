#!/usr/bin/env python3
"""Function and file lengths against STYLE's limits, for formatted code: a function ends with a `}` in column 0.

Usage: check_sizes.py FILE...; prints the distribution, exits 1 with the places when a limit is passed.
"""
import re
import statistics
import sys

FUNCTION_LINES_MAX, FUNCTION_MEDIAN_MAX, FUNCTION_P90_MAX = 70, 18, 55
FILE_LINES_MAX, FILE_MEDIAN_MAX = 900, 350


def functions(lines):
    """Yields (line number, name, lines) of each function definition."""
    signature = None
    for number, line in enumerate(lines, 1):
        if re.match(r"[A-Za-z_].*\(", line) and not line.rstrip().endswith(";") and "=" not in line.split("(")[0]:
            if line.rstrip().endswith("}") and "{" in line:
                yield number, name_of(line), 1
                continue
            signature = number, name_of(line)
        elif line.startswith("}") and line.strip() == "}" and signature:
            yield signature[0], signature[1], number - signature[0] + 1
            signature = None
        elif line.startswith("};") or line.startswith("} "):
            signature = None


def name_of(line):
    found = re.search(r"(\w+)\(", line)
    return found.group(1) if found else "?"


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main(paths):
    problems, function_lines, file_lines = [], [], []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        file_lines.append(len(lines))
        if len(lines) > FILE_LINES_MAX:
            problems.append(f"{path}: {len(lines)} lines, at most {FILE_LINES_MAX}")
        for number, name, count in functions(lines):
            function_lines.append(count)
            if count > FUNCTION_LINES_MAX:
                problems.append(f"{path}:{number}: {name} has {count} lines, at most {FUNCTION_LINES_MAX}")
    median, p90 = statistics.median(function_lines), percentile(function_lines, 0.9)
    file_median = statistics.median(file_lines)
    print(f"{len(function_lines)} functions: median {median:g}, p90 {p90}, longest {max(function_lines)}; "
          f"{len(file_lines)} files: median {file_median:g}, longest {max(file_lines)}")
    if median > FUNCTION_MEDIAN_MAX or p90 > FUNCTION_P90_MAX or file_median > FILE_MEDIAN_MAX:
        problems.append(f"wanted: function median <= {FUNCTION_MEDIAN_MAX}, p90 <= {FUNCTION_P90_MAX}, "
                        f"file median <= {FILE_MEDIAN_MAX}")
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
