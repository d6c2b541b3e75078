// What scrolls sideways, such as long code on a phone, can be reached with the keyboard.
function mark() {
  for (const box of document.querySelectorAll("pre, .table-wrapper, .text_html, .math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
}
mark();
addEventListener("resize", mark);
