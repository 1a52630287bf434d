"""docs/writing.md: its blocks, and the files of docs/examples that it quotes.

    /usr/bin/python3 tests/live/page.py    puts the files into the page again
"""
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/writing.md"
EXAMPLES = REPOSITORY / "docs/examples"
QUOTED = re.compile(r"(<!-- from: (\S+) -->\n```\w+\n)(.*?)(^```$)", re.M | re.S)
MARKED = re.compile(r"<!-- (set up|run): docs/examples/(\w+) -->\n```sh\n(.*?)^```$", re.M | re.S)
SQL = re.compile(r"^( *)```sql\n(.*?)^ *```$", re.M | re.S)


def quote(text):
    """The page with every quoted file as it is now."""
    return QUOTED.sub(lambda found: found[1] + (REPOSITORY / found[2]).read_text() + found[4], text)


def quoted_files():
    """Paths of the files that the page quotes."""
    return {REPOSITORY / found[2] for found in QUOTED.finditer(PAGE.read_text())}


def commands(kind, language=None):
    """[(language, shell lines)] of the blocks marked `set up` or `run`, in the page's order."""
    return [(found[2], found[3]) for found in MARKED.finditer(PAGE.read_text())
            if found[1] == kind and language in (None, found[2])]


def sql_blocks():
    """The page's SQL in its order, without what psql runs as an example of its own."""
    text = QUOTED.sub(lambda found: found[0] if found[2] == "docs/examples/orders.sql" else "", PAGE.read_text())
    return [re.sub(f"^{found[1]}", "", found[2], flags=re.M) for found in SQL.finditer(text)]


if __name__ == "__main__":
    PAGE.write_text(quote(PAGE.read_text()))
