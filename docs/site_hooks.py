"""MkDocs hooks: the tutorial notebook as a page."""

import base64
import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Replace every notebook by a Markdown page of the same name, and add its plots as images."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page, images = as_markdown(json.loads(Path(notebook.abs_src_path).read_text()), Path(notebook.src_uri).stem)
        files.remove(notebook)
        files.append(NotebookPage.generated(config, notebook.src_uri, content=page))
        for name, content in images.items():
            files.append(File.generated(config, str(Path(notebook.src_uri).with_name(name)), content=content))
    return files


class NotebookPage(File):
    """A page whose source keeps the name of the notebook, to which other pages link."""

    def is_documentation_page(self) -> bool:
        return True


def as_markdown(notebook: dict[str, Any], stem: str) -> tuple[str, dict[str, bytes]]:
    """Text of the page, and the plots: file name -> PNG."""
    blocks, images = [], {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}-{len(images) + 1}.png"
                images[name] = base64.b64decode("".join(data["image/png"]))
                blocks.append(f"![Output of the cell above]({name})")
            elif text := "".join(output.get("text", data.get("text/plain", ""))).rstrip():
                blocks.append(f"```text\n{text}\n```")
    return "\n\n".join(blocks), images
