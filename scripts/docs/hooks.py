"""What mkdocs.yml cannot say: links in a notebook go to the site's pages, too."""

import re
from typing import Any


def on_page_content(html: str, page: Any, **others: Any) -> str:
    """Return a page; mkdocs calls this for each."""
    if page.file.src_path.endswith(".ipynb"):
        html = re.sub(r'href="([\w-]+)\.md(#[^"]*)?"', r'href="\1.html\2"', html)
    return html
