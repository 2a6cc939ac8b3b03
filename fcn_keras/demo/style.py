"""How the page of `demo` looks."""

CSS = """
.fcn-examples .caption-label { display: none; }
.gradio-container .block .html-container { padding: 0; }
.fcn-head h1 { font-size: 1.6rem; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
.fcn-result {
  display: grid; gap: 1rem;
  grid-template: "overlay original" auto "facts facts" auto "legend legend" auto
    "confidence places" auto / 1fr 1fr;
}
.fcn-result + .fcn-result, .fcn-fault + .fcn-result, .fcn-result + .fcn-fault {
  margin-top: 2rem; padding-top: 2rem; border-top: 1px solid var(--border-color-primary);
}
.fcn-overlay { grid-area: overlay; }
.fcn-original { grid-area: original; }
.fcn-facts { grid-area: facts; }
.fcn-legend { grid-area: legend; }
.fcn-confidence { grid-area: confidence; }
.fcn-places { grid-area: places; margin: 0; }
.fcn-result .fcn-places ol { margin: .5rem 0 0; padding-left: 1.5rem; list-style: decimal; }
.fcn-place {
  position: absolute; left: var(--x); top: var(--y); width: var(--w); height: var(--h);
  border: 2px solid #fff; outline: 2px solid #000; border-radius: 3px;
}
.fcn-place b {
  position: absolute; left: 0; top: 0; padding: 0 .35em; background: #000; color: #fff;
  font-size: .8rem; line-height: 1.3;
}
@media (max-width: 640px) {
  .fcn-result {
    grid-template: "overlay" "facts" "legend" "original" "confidence" "places" / minmax(0, 1fr);
  }
}
.fcn-result figure { margin: 0; min-width: 0; }
.fcn-result figcaption { margin-top: .25rem; }
.fcn-stage {
  position: relative; aspect-ratio: var(--ratio); width: min(100%, 75vh * var(--ratio));
  border-radius: var(--radius-md); overflow: hidden;
}
.fcn-stage img { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; }
.fcn-stage img + img { opacity: var(--fcn-opacity, .5); }
.fcn-facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; align-items: center;
  justify-content: space-between; }
.fcn-facts p { margin: 0; overflow-wrap: anywhere; }
.fcn-downloads { display: flex; flex-wrap: wrap; gap: .5rem; }
.fcn-result a.fcn-download {
  padding: .5rem 1rem; border-radius: var(--radius-md); text-decoration: none; font-weight: 600;
  background: var(--button-primary-background-fill); color: var(--button-primary-text-color);
}
.fcn-result .fcn-legend, .fcn-legend {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr));
  gap: .75rem 2rem; list-style: none; margin: 0; padding: 0;
}
.fcn-legend li {
  display: flex; flex-wrap: wrap; gap: .25rem .6rem; align-items: center; margin: 0;
}
.fcn-result .fcn-legend li::after {
  content: ""; flex: 0 0 100%; height: 4px; border-radius: 2px;
  background: linear-gradient(var(--color) 0 0) 0 / var(--share) no-repeat
    var(--border-color-primary);
}
.fcn-name { flex: 1; overflow-wrap: anywhere; }
.fcn-chip {
  flex: none; width: 1.1em; height: 1.1em; border-radius: 3px; background: var(--color);
  border: 1px solid var(--body-text-color-subdued);
}
.fcn-fault {
  padding: 1rem; border-radius: var(--radius-md); overflow-wrap: anywhere;
  border: 1px solid var(--error-border-color); background: var(--error-background-fill);
  color: var(--error-text-color);
}
"""
