"""Write `docs/templates.md` from the templates' own `spec`.

python tools/template_pages.py
"""

from __future__ import annotations

from pathlib import Path

from aegis.pipeline.library import page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "templates.md"

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE.name}")
