"""The dashboard as a test sees it: its tables, tiles and buttons, in a headless browser."""

import browser

TABLE = """
(caption => {
  const table = [...document.querySelectorAll('table')].find(t => t.caption && t.caption.textContent === caption);
  if (!table) return null;
  const names = [...table.tHead.rows[0].cells].map(c => c.textContent);
  return [...table.tBodies[0].rows].filter(r => r.cells.length === names.length)
    .map(r => Object.fromEntries(names.map((name, i) => [name, r.cells[i].textContent])));
})(%s)
"""
BUTTON = """
(name => {
  const found = [...document.querySelectorAll('button')].find(b => b.textContent === name && !b.disabled);
  if (found) found.click();
  return Boolean(found);
})(%s)
"""


def quoted(text):
    return browser.json.dumps(text)


class Board:
    """A page of the browser that shows the dashboard of a server."""

    def __init__(self, chromium, port, where="", **look):
        self.url = f"http://127.0.0.1:{port}/"
        self.page = chromium.page(self.url + where, **look)

    def go(self, where):
        self.page.go(self.url + where)

    def table(self, caption):
        """A table's rows by the names of its columns; None while it is not there."""
        return self.page.run(TABLE % quoted(caption))

    def rows(self, caption, at_least=1):
        return self.page.until(
            lambda: (rows := self.table(caption)) and len(rows) >= at_least and rows,
            f"{at_least} rows of {caption}",
        )

    def tile(self, name):
        """What a tile says, as soon as it is there: the tiles wait for a series that the tables do not need."""
        return self.page.until(
            lambda: self.page.run(
                "(name => { const t = [...document.querySelectorAll('.tile')]"
                ".find(e => e.querySelector('dt').textContent === name);"
                f" return t && t.querySelector('dd').firstChild.textContent; }})({quoted(name)})"
            ),
            f"the tile {name}",
        )

    def press(self, name):
        """Clicks a button, as soon as it can be."""
        self.page.until(lambda: self.page.run(BUTTON % quoted(name)), f"the button {name}")

    def choose(self, label, value):
        """Chooses of a select by its label."""
        self.page.run(
            "((label, value) => { const s = [...document.querySelectorAll('label')]"
            ".find(l => l.textContent.startsWith(label)).querySelector('select');"
            " s.value = value; s.dispatchEvent(new Event('change')); })"
            f"({quoted(label)}, {quoted(value)})"
        )

    def fill(self, selector, text):
        self.page.run(f"document.querySelector({quoted(selector)}).focus()")
        self.page.type(text)

    def until_text(self, text, seconds=browser.PATIENCE_S):
        self.page.until(lambda: text in self.page.text(), text, seconds)

    def close(self):
        self.page.close()
