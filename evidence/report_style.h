// The style sheet of the report's page. Classes of plots: fb and fa the
// forgotten text before and now, cb and ca control.
#ifndef LETHE_EVIDENCE_REPORT_STYLE_H_
#define LETHE_EVIDENCE_REPORT_STYLE_H_

namespace lethe::evidence {

inline constexpr char kReportStyle[] = R"css(
:root{color-scheme:light dark;--bg:#f6f5f1;--card:#fff;--ink:#1c1f23;--soft:#5b636d;--line:#dcdad2;--rail:#ecebe5;
--fb:#c2541b;--fa:#1f5fbf;--cb:#9aa2ab;--ca:#5d6670;--pass:#1a7f4b;--fail:#b3261e;--warn:#9a6700;
--passbg:#e8f5ee;--failbg:#fbeae8;--warnbg:#fdf4dc;--over:rgba(179,38,30,.055)}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e8e9eb;--soft:#a0a8b2;--line:#333942;--rail:#2a3038;
--fb:#f0894e;--fa:#6ea8ff;--cb:#6b747f;--ca:#aab2bc;--pass:#55c98c;--fail:#ff8a80;--warn:#e6b94d;
--passbg:#14291f;--failbg:#331b1a;--warnbg:#2f2814;--over:rgba(255,138,128,.08)}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:1060px;margin:0 auto;padding:36px 28px 60px}
header{display:flex;justify-content:space-between;align-items:flex-end;gap:24px;margin-bottom:18px;flex-wrap:wrap}
h1{font-size:26px;line-height:1.2;margin:0;letter-spacing:-.01em}
.kicker{font-size:12px;letter-spacing:.12em;text-transform:uppercase;color:var(--soft);margin:0 0 4px}
.when{color:var(--soft);font-size:13px;text-align:right}
h2{font-size:18px;margin:38px 0 4px;letter-spacing:-.005em}
h3{font-size:15px;margin:0}
p{margin:6px 0}
.lead{color:var(--soft);max-width:76ch;margin-bottom:14px}
.verdict{border:1px solid var(--line);border-left:8px solid var(--c);background:var(--cbg);border-radius:10px;padding:18px 24px 16px}
.verdict .word{font-size:28px;font-weight:700;color:var(--c);line-height:1.2}
.verdict .why{font-size:17px;max-width:80ch}
.verdict .means{color:var(--soft);max-width:88ch;margin-bottom:0}
.pass{--c:var(--pass);--cbg:var(--passbg)}.fail{--c:var(--fail);--cbg:var(--failbg)}.warn{--c:var(--warn);--cbg:var(--warnbg)}
.unsound{border:2px solid var(--fail);background:var(--failbg);border-radius:10px;padding:14px 22px;margin-bottom:18px}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin-top:14px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px}
.tile{padding:12px 16px;flex:1 1 30%;min-width:190px}
.tile .k{font-size:12.5px;color:var(--soft)}
.tile .v{font-size:20px;font-weight:650;font-variant-numeric:tabular-nums;white-space:nowrap}
.tile .n{font-size:12px;color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(2,1fr);gap:14px}
.card{padding:16px 18px;break-inside:avoid}.grid.low{align-items:start}
.card .top{display:flex;justify-content:space-between;align-items:baseline;gap:10px}
.card .par{font-size:12px;color:var(--soft);margin:0 0 6px}
.card ul{margin:8px 0 0;padding:0;list-style:none;font-size:13px}
.card li{padding:7px 0 0;margin-top:7px;border-top:1px solid var(--line);display:flex;gap:10px;align-items:baseline}
.card li .tag{flex:none}
.wide{grid-column:1/-1}
.tag{font-size:11.5px;font-weight:650;letter-spacing:.03em;padding:1px 8px;border-radius:20px;color:var(--c);background:var(--cbg);
white-space:nowrap;border:1px solid color-mix(in srgb,var(--c) 35%,transparent)}
svg{width:100%;height:auto;display:block;overflow:visible}
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums}
svg .lab{font-size:12px;fill:var(--ink)}svg .fig{font-size:12px;fill:var(--ink);font-weight:600}svg .lim{font-size:10.5px;fill:var(--fail)}
.rail{stroke:var(--rail);stroke-width:1}.axis{stroke:var(--line);stroke-width:1}.limit{stroke:var(--fail);stroke-width:1.2;stroke-dasharray:4 3}
.over{fill:var(--over)}
.fb circle{fill:var(--fb);fill-opacity:.62}.fa circle{fill:var(--fa);fill-opacity:.62}.cb circle{fill:var(--cb);fill-opacity:.62}.ca circle{fill:var(--ca);fill-opacity:.62}
.mean{stroke-width:2.4;stroke-linecap:round}.fb .mean{stroke:var(--fb)}.fa .mean{stroke:var(--fa)}.cb .mean{stroke:var(--cb)}.ca .mean{stroke:var(--ca)}
rect.cb{fill:var(--cb)}rect.fa{fill:var(--fa)}rect.fb{fill:var(--fb)}rect.ca{fill:var(--ca)}rect.bad{fill:var(--fail)}
.curve{fill:none;stroke-width:2;stroke-linejoin:round}.fb .curve{stroke:var(--fb)}.fa .curve{stroke:var(--fa)}.cb .curve{stroke:var(--cb)}.ca .curve{stroke:var(--ca)}
.faint .curve{stroke-width:1.2;stroke-dasharray:4 3;stroke-opacity:.75}.faint circle{fill-opacity:0}
.level{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 4}
.legend{display:flex;gap:18px;flex-wrap:wrap;font-size:13px;color:var(--soft);margin:2px 0 12px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:6px}
table{border-collapse:collapse;width:100%;font-size:13.5px;background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden}
th,td{text-align:left;vertical-align:top;padding:8px 12px;border-bottom:1px solid var(--line)}
tr:last-child td,tr:last-child th{border-bottom:0}
thead th{font-size:12px;color:var(--soft);font-weight:600;background:color-mix(in srgb,var(--rail) 45%,transparent)}
tbody th{font-weight:600;white-space:nowrap;width:1%}
th.num,td.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:12.5px ui-monospace,SFMono-Regular,"Liberation Mono",Menlo,monospace;overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;overflow-x:auto;font:12.5px/1.6 ui-monospace,SFMono-Regular,"Liberation Mono",Menlo,monospace}
.revealed{white-space:pre-wrap;overflow-wrap:anywhere}.revealed .par{color:var(--soft)}mark{background:var(--warnbg);color:inherit;padding:0 2px;border-radius:3px;box-shadow:0 0 0 1px var(--warn)}
table .what,th .what{display:block;font-size:11.5px;font-weight:400;color:var(--soft);white-space:normal}
.families th,.families td{padding:9px 12px}.families .now{font-weight:650}.families td:last-child{width:46%}.families tr.failed{background:var(--failbg)}
.matrix td{padding:6px 12px;font-weight:600}.matrix .bad{background:var(--failbg);color:var(--fail)}.matrix .weak{color:var(--soft)}.matrix .none{color:var(--soft);font-weight:400}
.scroll{overflow-x:auto}h3.of{margin:20px 0 8px}h4{font-size:13px;margin:6px 0 2px}
.note{font-size:12.5px;color:var(--soft);max-width:88ch}.mute{--c:var(--soft);--cbg:var(--rail)}code.soft{color:var(--soft);font-size:11.5px}
.pair{display:grid;grid-template-columns:minmax(240px,2fr) 3fr;gap:22px;align-items:start}
.pair>*,.small>*{min-width:0}.pair>div{overflow-x:auto}
.small{display:grid;grid-template-columns:repeat(4,1fr);gap:18px}
details{margin-top:10px;font-size:13px}summary{cursor:pointer;color:var(--soft);font-weight:600}details .inside{padding-top:4px}
.card>h3+p+ul,.card>ul:first-child{margin-top:0}.card>ul:first-child>li:first-child{border-top:0;margin-top:0;padding-top:0}
.facts td{width:100%;overflow-wrap:anywhere}.grid>div{min-width:0}td.num .what{white-space:nowrap}
.card li .tag{min-width:52px;text-align:center}td.id{white-space:nowrap}td.id code{overflow-wrap:normal}
footer{margin-top:40px;padding-top:14px;border-top:1px solid var(--line);color:var(--soft);font-size:12.5px}
@media screen and (max-width:820px){.grid,.pair{grid-template-columns:1fr}.small{grid-template-columns:repeat(2,1fr)}main{padding:22px 16px}
.tile{min-width:150px}.tile .v{font-size:17px}.when{text-align:left}.families th{white-space:normal}.families td:last-child{min-width:230px;width:auto}.card li{flex-wrap:wrap;row-gap:4px}}
@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--rail:#eee;--fb:#c2541b;--fa:#1f5fbf;--cb:#9aa2ab;
--ca:#5d6670;--pass:#1a7f4b;--fail:#b3261e;--warn:#9a6700;--passbg:#eef7f2;--failbg:#fbeeec;--warnbg:#fdf6e3;--over:rgba(179,38,30,.055)}
@page{margin:13mm}body{zoom:.74;-webkit-print-color-adjust:exact;print-color-adjust:exact}main{max-width:none;padding:0}h2,h3,h4{break-after:avoid}tr,.small>div,li{break-inside:avoid}details::details-content{content-visibility:visible;block-size:auto}.scroll{overflow:visible}}
)css";

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_REPORT_STYLE_H_
