// A tree of plain objects and how the page is made to look like it. What is already there stays: focus,
// scrolling, opened details, what is being typed. Texts become text nodes, nothing is ever parsed.

const SVG = "http://www.w3.org/2000/svg";

// h("td", {class: "number"}, "12 ms"): kids are texts, numbers, other nodes, lists of them, or nothing.
export function h(tag, props, ...kids) {
  return { tag, props: props || {}, kids: flatten(kids, []) };
}

function flatten(kids, out) {
  for (const kid of kids) {
    if (Array.isArray(kid)) flatten(kid, out);
    else if (kid !== null && kid !== undefined && kid !== false) {
      out.push(typeof kid === "object" ? kid : String(kid));
    }
  }
  return out;
}

// Makes the element's children look like kids.
export function render(element, ...kids) {
  reconcile(element, flatten(kids, []));
}

function reconcile(parent, kids) {
  const keyed = new Map();
  for (const node of parent.childNodes) {
    if (node.neapKey !== undefined) keyed.set(node.neapKey, node);
  }
  let at = parent.firstChild;
  for (const kid of kids) {
    const node = reuse(keyed, at, kid) || create(kid, parent);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
    update(node, kid);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// A node that can become the kid: of its key, else the one that stands at its place.
function reuse(keyed, at, kid) {
  const key = kid.props && kid.props.key;
  if (key !== undefined) {
    const node = keyed.get(key);
    keyed.delete(key);
    return node && node.neapTag === kid.tag ? node : null;
  }
  return at && at.neapKey === undefined && at.neapTag === kid.tag ? at : null;
}

function create(kid, parent) {
  if (kid.tag === undefined) return document.createTextNode(kid);
  const inSvg = kid.tag === "svg" || (parent.namespaceURI === SVG && parent.tagName !== "foreignObject");
  const node = inSvg ? document.createElementNS(SVG, kid.tag) : document.createElement(kid.tag);
  node.neapTag = kid.tag;
  node.neapProps = {};
  if (kid.props.key !== undefined) node.neapKey = kid.props.key;
  return node;
}

function update(node, kid) {
  if (kid.tag === undefined) {
    if (node.data !== kid) node.data = kid;
    return;
  }
  const before = node.neapProps;
  for (const name of Object.keys(before)) {
    if (!(name in kid.props)) set(node, name, undefined);
  }
  for (const [name, value] of Object.entries(kid.props)) {
    if (name === "style" || before[name] !== value) set(node, name, value);
  }
  node.neapProps = kid.props;
  reconcile(node, kid.kids);
  if (node.tagName === "SELECT" && node !== document.activeElement) node.value = kid.props.value;
}

function set(node, name, value) {
  if (name === "key") return;
  if (name.startsWith("on")) {
    node[name] = value || null;
  } else if (name === "style") {
    for (const [property, text] of Object.entries(value || {})) node.style.setProperty(property, text);
  } else if (name === "value" && node.tagName === "INPUT") {
    if (node !== document.activeElement) node.value = value;
  } else if (name === "value" && node.tagName === "SELECT") {
    return; // when its options are there
  } else if (value === undefined || value === null || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? "" : value);
  }
}
