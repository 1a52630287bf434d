"""docs/writing.md and docs/reading.md: their blocks, and the files of docs/examples that they quote.

    /usr/bin/python3 tests/live/page.py    puts the files into the pages again
"""
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "docs/examples"
SOURCES = (".py", ".js", ".java", ".go", ".sql", ".rb", ".cs", ".ts", ".prisma")
TEXT_ONLY = ("csharp", "prisma")
ADMINISTRATOR = ("-- The service's own table", "-- by an administrator", "-- in a migration")
QUOTED = re.compile(r"(<!-- from: (\S+) -->\n```\w+\n)(.*?)(^```$)", re.M | re.S)
MARKED = re.compile(r"<!-- (set up|run): docs/examples/(\w+) -->\n```sh\n(.*?)^```$", re.M | re.S)
SQL = re.compile(r"^( *)```sql\n(.*?)^ *```$", re.M | re.S)


class Page:
    """One of them."""

    def __init__(self, name):
        self.path = REPOSITORY / "docs" / name

    def text(self):
        """As it is now."""
        return self.path.read_text()

    def with_files(self):
        """The page with every quoted file as it is now."""
        return QUOTED.sub(lambda found: found[1] + (REPOSITORY / found[2]).read_text() + found[4], self.text())

    def quoted_files(self):
        """Paths of the files that the page quotes."""
        return {REPOSITORY / found[2] for found in QUOTED.finditer(self.text())}

    def commands(self, kind, language=None):
        """[(language, shell lines)] of the blocks marked `set up` or `run`, in the page's order."""
        return [(found[2], found[3]) for found in MARKED.finditer(self.text())
                if found[1] == kind and language in (None, found[2])]

    def sql_blocks(self):
        """The page's SQL in its order, without what psql runs as an example of its own."""
        text = QUOTED.sub(lambda found: "" if found[2].count("/") > 2 else found[0], self.text())
        return [re.sub(f"^{found[1]}", "", found[2], flags=re.M) for found in SQL.finditer(text)]


WRITING, READING = Page("writing.md"), Page("reading.md")
PAGES = (WRITING, READING)

if __name__ == "__main__":
    for page in PAGES:
        page.path.write_text(page.with_files())
