(() => {
  const sheet = document.getElementById("sheet");
  if (!sheet) return;
  const viewer = document.getElementById("viewer"), big = document.getElementById("big");
  const facts = document.getElementById("facts"), picture = big.parentElement;
  let current = null;
  const shown = () => [...sheet.children].filter((card) => !card.hidden);
  const show = (card) => {
    current = card;
    facts.replaceChildren(card.querySelector("template").content.cloneNode(true));
    facts.scrollTop = 0;
    picture.classList.remove("full");
    const thumb = card.querySelector("img"), link = facts.querySelector("a.overlay");
    big.onerror = () => { big.onerror = null; if (thumb) big.src = thumb.src; };
    if (link) big.src = link.getAttribute("href"); else if (thumb) big.src = thumb.src;
    if (!viewer.open) viewer.showModal();
  };
  const step = (by) => {
    const cards = shown(), at = cards.indexOf(current);
    if (cards.length) show(cards[(at + by + cards.length) % cards.length]);
  };
  sheet.addEventListener("click", (event) => {
    const button = event.target.closest("button.open");
    if (button) show(button.closest("article"));
  });
  document.getElementById("before").onclick = () => step(-1);
  document.getElementById("after").onclick = () => step(1);
  document.getElementById("close").onclick = () => viewer.close();
  picture.onclick = () => picture.classList.toggle("full");
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  const linked = decodeURIComponent(location.hash.slice(1));
  if (linked) {
    const card = [...sheet.children].find((candidate) => candidate.dataset.name === linked);
    if (card) show(card);
  }
  const find = document.getElementById("find"), sort = document.getElementById("sort");
  if (!find) return;
  find.oninput = () => {
    const words = find.value.toLowerCase();
    for (const card of sheet.children) card.hidden = !card.dataset.name.toLowerCase().includes(words);
  };
  sort.onchange = () => {
    const order = {
      place: (a, b) => a.dataset.place - b.dataset.place,
      angle: (a, b) => b.dataset.angle - a.dataset.angle,
      name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
    }[sort.value];
    sheet.append(...[...sheet.children].sort(order));
  };
})();
