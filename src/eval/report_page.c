/* report_page.c - the look of the report. Colours of a sample's first score run from red (0) over yellow to green (1) by --hue. */
#include "eval/report_page.h"

const char nc_report_style[] =
    ":root{--page:#f6f7f9;--card:#fff;--soft:#f0f2f5;--mark:#dff3e7;color-scheme:light dark}"
    "@media(prefers-color-scheme:dark){:root{--page:#0f1318;--card:#171c23;--soft:#212832;--mark:#1d3d2e}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 Pretendard,'Noto Sans KR','Noto Sans CJK KR','Apple SD Gothic Neo','Malgun Gothic',NanumGothic,system-ui,sans-serif}"
    "main{max-width:1180px;margin:0 auto;padding:40px 24px 80px}"
    "h1{font-size:30px;line-height:1.2;letter-spacing:-.02em;margin:0}h2{font-size:19px;margin:40px 0 14px}"
    ".subtitle{color:var(--muted);margin:6px 0 28px}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:14px}"
    ".card,figure,article,details{background:var(--card);border:1px solid var(--line);border-radius:14px}"
    ".card{padding:16px 18px}.card .name{color:var(--muted);font-size:14px}.card .value{font-size:32px;font-weight:650;letter-spacing:-.02em;font-variant-numeric:tabular-nums;line-height:1.25}"
    ".card .note{color:var(--muted);font-size:13px}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:14px}figure{margin:0;padding:10px 12px}.chart{width:100%;height:auto;display:block}"
    "details{margin-top:22px;padding:12px 18px}summary{cursor:pointer;font-weight:600}"
    "table{border-collapse:collapse;margin-top:10px;width:100%}th{text-align:left;font-weight:500;color:var(--muted);padding:4px 20px 4px 0;white-space:nowrap;vertical-align:top}td{padding:4px 0;overflow-wrap:anywhere}"
    ".tools{display:flex;gap:10px;flex-wrap:wrap;align-items:center;margin-bottom:14px}"
    ".tools input,.tools select{font:inherit;font-size:14px;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:9px;padding:7px 11px}.tools input{flex:1;min-width:200px}.tools output{color:var(--muted);font-size:14px}"
    "article{display:grid;grid-template-columns:minmax(260px,44%) 1fr;gap:20px;padding:16px;margin-bottom:14px}"
    ".frames{display:grid;grid-template-columns:repeat(4,1fr);gap:5px;align-content:start}.frames img{width:100%;border-radius:7px;display:block;background:var(--soft)}"
    ".texts header{display:flex;gap:8px;flex-wrap:wrap;align-items:center}.id{color:var(--muted);font-size:14px;margin-right:auto;overflow-wrap:anywhere}"
    ".chip{font-size:13px;border-radius:99px;padding:2px 10px;background:hsl(var(--hue) 65% 90%);color:hsl(var(--hue) 70% 22%);font-variant-numeric:tabular-nums}.chip.plain{background:var(--soft);color:var(--muted)}"
    "@media(prefers-color-scheme:dark){.chip{background:hsl(var(--hue) 45% 20%);color:hsl(var(--hue) 70% 80%)}}"
    ".asked{color:var(--muted);margin:8px 0 0}.prediction{font-size:19px;font-weight:600;margin:10px 0 8px;word-break:keep-all;overflow-wrap:anywhere}mark{background:var(--mark);color:inherit;border-radius:4px;padding:0 2px}"
    "ol{margin:0;padding-left:22px;color:var(--muted);word-break:keep-all}"
    "@media(max-width:760px){article{grid-template-columns:1fr}.charts{grid-template-columns:1fr}}";

const char nc_report_tools[] =
    "<h2>Samples</h2><div class=\"tools\"><input id=\"find\" type=\"search\" placeholder=\"Filter by text or name\" aria-label=\"Filter\">"
    "<select id=\"order\" aria-label=\"Order\"><option value=\"at\">In order of the data</option><option value=\"low\">Worst first</option><option value=\"high\">Best first</option></select>"
    "<output id=\"shown\"></output></div><section id=\"samples\">";

const char nc_report_script[] =
    "<script>(()=>{const box=document.getElementById('samples');if(!box)return;const rows=[...box.children],find=document.getElementById('find'),order=document.getElementById('order'),shown=document.getElementById('shown');"
    "const show=()=>{const q=find.value.trim().toLowerCase();let n=0;for(const r of rows){const on=!q||r.textContent.toLowerCase().includes(q);r.style.display=on?'':'none';n+=on}shown.textContent=n+' / '+rows.length};"
    "const sort=()=>{const k=order.value,v=r=>k==='at'?+r.dataset.at:k==='low'?+r.dataset.score:-r.dataset.score;box.append(...[...rows].sort((a,b)=>v(a)-v(b)))};"
    "find.oninput=show;order.onchange=sort;show()})()</script>";
