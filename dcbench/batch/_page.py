"""The page around a report: its frame and its style, for the screen and for paper."""

from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline';
 style-src 'unsafe-inline'; img-src data: blob:; font-src data:">
<title>$title</title>
<style>$style</style>
$plotly
</head>
<body>
<main>
$body
<section class="about">
<h2>How this report was made</h2>
$settings
<p>Made on $moment by dcbench $version. The executed notebook, with all its code, is
<code>$notebook</code>.</p>
</section>
</main>
</body>
</html>
""")

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f3f4f6; color: #1f2933; font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; }
main { box-sizing: border-box; max-width: 800px; margin: 2rem auto; padding: 2.5rem 50px; background: #fff;
  border-radius: 6px; box-shadow: 0 1px 4px rgb(0 0 0 / 12%); }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; background: #f3f4f6; padding: .1em .3em; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border: 0; border-bottom: 1px solid #dde1e6; text-align: left; }
.output_html, .text_cell_render { overflow-x: auto; }
.dataframe { font-size: .76rem; }
.dataframe th, .dataframe td { padding: .3rem .4rem; text-align: right; }
.dataframe tbody th { font-weight: normal; white-space: nowrap; }
thead th { border-bottom: 2px solid #9aa5b1; }
.settings th, .settings td { font-weight: normal; vertical-align: top; }
.settings th { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
.about { margin-top: 3rem; border-top: 1px solid #dde1e6; font-size: .85rem; color: #52606d; }
.about h2 { font-size: 1rem; }
.chart { margin: 1rem 0; }
.output_area pre { font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; margin: .8rem 0; }
.output_error pre { color: #9b1c1c; }
.output_stderr pre, .output_error pre {
  font: .8rem ui-monospace, "DejaVu Sans Mono", monospace; }
details.code { font-size: .75rem; color: #7b8794; margin: .3rem 0; }
details.code pre { margin: .3rem 0; padding: .6rem .8rem; background: #f8f9fa; overflow-x: auto;
  font: .75rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
@media print {
  @page { size: A4; margin: 14mm 12mm 16mm; @bottom-right { content: counter(page) " / " counter(pages);
    font: 8pt system-ui, "DejaVu Sans", sans-serif; color: #52606d; } }
  body { background: #fff; font-size: 10.5pt; }
  main { margin: 0; padding: 0; max-width: none; box-shadow: none; }
  details.code { display: none; }
  h1, h2, p, .text_cell { break-after: avoid; }
  .text_cell { break-inside: avoid; }
  .chart, table, tr { break-inside: avoid; }
  table:has(tbody tr:nth-child(6)):not(:has([rowspan])) { break-inside: auto; }
  .output_html, .text_cell_render { overflow-x: visible; }
  .dataframe { font-size: 7.5pt; }
  .dataframe th, .dataframe td, .dataframe tbody th { white-space: normal; overflow-wrap: anywhere; }
}
"""

TEMPLATE = """{%- extends 'basic/index.html.j2' -%}
{% block input_group -%}
<details class="code"><summary>code</summary>{{ super() }}</details>
{%- endblock input_group %}
"""


def code_style() -> str:
    """Return the style of highlighted code."""
    from pygments.formatters import HtmlFormatter

    return str(HtmlFormatter(style="friendly", nobackground=True).get_style_defs(".highlight"))
