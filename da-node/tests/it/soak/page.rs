//! The report as a page that needs nothing else, wide or narrow, light or dark.

use std::fmt::Write as _;

use super::{plot::escaped, report::Report};

/// Kinds of log lines that are shown.
const SAID: usize = 20;

/// The page.
pub(super) fn html(report: &Report) -> String {
    let mut page = format!("<!doctype html><html lang=\"en\"><head>{HEAD}</head><body><main><h1>Soak</h1>");
    match report.violations.first() {
        None => page += "<p class=\"verdict good\">Every promise was kept.</p>",
        Some(first) => {
            let what = escaped(&first.what);
            write!(page, "<p class=\"verdict bad\">Broken after {:.1} s: {what}</p>", first.at_seconds)
                .unwrap();
        }
    }
    page += "<p>Four validators, a full node and ten light clients under faults and load; \
             <code>docs/soak.md</code> says what is checked, and how to repeat a seed.</p><dl>";
    for (fact, value) in report.facts() {
        write!(page, "<div><dt>{fact}</dt><dd>{value}</dd></div>").unwrap();
    }
    page += "</dl>";
    if report.violations.len() > 1 {
        page += "<h2>All that was broken</h2><ul class=\"list\">";
        for violation in &report.violations {
            write!(page, "<li>{:.1} s: {}</li>", violation.at_seconds, escaped(&violation.what)).unwrap();
        }
        page += "</ul>";
    }
    page += "<h2>Over time</h2><p class=\"key\"><span class=\"fault\">a fault</span> \
             <span class=\"halts\">a fault that leaves no quorum</span></p>";
    page += &report.charts.concat();
    page += "<h2>Faults</h2><div class=\"wide\"><table><tr><th>from<th>to<th>fault</tr>";
    for line in &report.faults {
        let class = if line.halts { "halts" } else { "" };
        let (from, to, fault) = (line.from_seconds, line.to_seconds, escaped(&line.fault));
        write!(page, "<tr class=\"{class}\"><td>{from:.0} s<td>{to:.0} s<td>{fault}</tr>").unwrap();
    }
    page += "</table></div><h2>Processes</h2><div class=\"wide\"><table><tr><th>machine<th>memory, most\
             <th>files, most<th>growth since warm</tr>";
    for line in &report.machines {
        let growth = line.growth_mib.map_or("–".into(), |growth| format!("{growth:.1} MiB"));
        let (name, resident, files) = (&line.name, line.resident_mib_max, line.files_max);
        write!(page, "<tr><td>{name}<td>{resident:.0} MiB<td>{files}<td>{growth}</tr>").unwrap();
    }
    page += "</table></div><h2>Warnings and errors in logs</h2><div class=\"wide\"><table><tr><th>times<th>what</tr>";
    let mut said: Vec<_> = report.logged.iter().collect();
    said.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (what, count) in said.into_iter().take(SAID) {
        write!(page, "<tr><td>{count}<td>{}</tr>", escaped(what)).unwrap();
    }
    page += "</table></div>";
    for (name, tail) in &report.tails {
        write!(
            page,
            "<details><summary>The end of {name}'s log</summary><pre>{}</pre></details>",
            escaped(tail)
        )
        .unwrap();
    }
    page + "</main></body></html>\n"
}

/// Style and viewport. The colours are Okabe and Ito's, told apart by the colour-blind too.
const HEAD: &str = r#"<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Weft soak</title><style>
:root{color-scheme:light dark;--ground:#fff;--ink:#1f2937;--faint:#5b6472;--grid:#e5e7eb;--card:#f7f8fa;
--fault:#9ca3af40;--halts:#d55e0040;--good:#00704f;--bad:#b3261e;
--c0:#8a93a0;--c1:#0072b2;--c2:#d55e00;--c3:#009e73;--c4:#cc79a7;--c5:#1f2937}
@media(prefers-color-scheme:dark){:root{--ground:#12161c;--ink:#e6e9ee;--faint:#9aa4b2;--grid:#2a313b;--card:#1a2028;
--fault:#9ca3af30;--halts:#e69f0048;--good:#4fd0a5;--bad:#ff8a80;--c0:#6f7a88;--c1:#56b4e9;--c2:#e69f00;--c3:#2fc79a;--c4:#e39ac4;--c5:#e6e9ee}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:1rem}h1{margin:.5rem 0}h2{margin:2.2rem 0 .6rem;font-size:1.2rem}
.verdict{font-size:1.15rem;font-weight:600}.good{color:var(--good)}.bad{color:var(--bad);overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}
dl div{background:var(--card);border-radius:.5rem;padding:.5rem .75rem}dt{color:var(--faint);font-size:.85rem}dd{margin:0;font-weight:600}
.key span{padding:.1rem .5rem;border-radius:.25rem;margin-right:.5rem}.key .fault{background:var(--fault)}.key .halts{background:var(--halts)}
figure{margin:1.2rem 0 2rem}figcaption{color:var(--faint);font-size:.9rem}figcaption b{color:var(--ink);font-size:1rem}
figure ul{display:flex;flex-wrap:wrap;gap:.1rem 1rem;list-style:none;margin:.2rem 0 .5rem;padding:0;font-size:.85rem}
figure li::before{content:"";display:inline-block;width:.8rem;height:.2rem;margin-right:.35rem;vertical-align:middle;background:var(--c)}
.plot{position:relative;margin-left:3.2rem;padding-bottom:1.6rem}.plot svg{display:block;width:100%;height:14rem;overflow:visible}
.ys{position:absolute;left:-3.2rem;width:2.9rem;height:14rem;font-size:.75rem;color:var(--faint)}
.ys span{position:absolute;right:0;transform:translateY(50%)}
.xs{position:relative;height:1.2rem;font-size:.75rem;color:var(--faint)}.xs span{position:absolute;transform:translateX(-50%);top:.2rem}
.xs i{position:absolute;right:0;top:1.2rem;font-style:normal}
path{fill:none;stroke:var(--c);stroke-width:1.5;vector-effect:non-scaling-stroke;stroke-linejoin:round}
path.dots{stroke-width:4;stroke-linecap:round}path.grid{stroke:var(--grid);stroke-width:1}
rect.fault{fill:var(--fault)}rect.halts{fill:var(--halts)}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}th,td{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--grid);vertical-align:top}
th{color:var(--faint);font-weight:500}tr.halts td{background:var(--halts)}pre{overflow-x:auto;font-size:.75rem;background:var(--card);padding:.6rem}
</style>"#;
