// What is on the page is a function of the state: a view makes a tree with h, and morph changes the page into it. What is
// equal stays as it is, so that the focus, a selection and what is being clicked are not lost when a signal arrives.

/**
 * Makes an element. An attribute that is false, null or undefined is left out, and true is one without a value. Children are
 * elements, text, or arrays of them; what is false, null or undefined is left out.
 */
export function h(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value !== false && value !== null && value !== undefined)
            element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter(c => c !== false && c !== null && c !== undefined));
    return element;
}

/** Changes the children of a place into those given. Those with the same attribute data-key, or the same id, are the same. */
export function morph(place, children) {
    const keyed = new Map();
    for (const child of children)
        keyed.set(key(child), null);
    for (const old of [...place.children]) {
        if (key(old) && !keyed.has(key(old)))
            old.remove(); // first, since what is moved past it would lose the focus
        else
            keyed.set(key(old), old);
    }
    let at = place.firstChild;
    for (const wanted of children) {
        let old = key(wanted) ? keyed.get(key(wanted)) : at;
        if (!old || key(old) !== key(wanted) || old.nodeName !== wanted.nodeName)
            old = undefined;
        if (old && old === at)
            at = at.nextSibling;
        else
            place.insertBefore(old ?? wanted, at);
        if (old)
            become(old, wanted);
    }
    while (at) {
        const next = at.nextSibling;
        at.remove();
        at = next;
    }
}

const key = node => node.getAttribute?.("data-key") || node.id; // dataset is ten times slower

/** Gives a node the attributes and the children of another. What a person has opened, closed or typed stays, and what was told. */
function become(old, wanted) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
        if (old.data !== wanted.data)
            old.data = wanted.data;
        return;
    }
    if (old.isEqualNode(wanted)) // the most, of thousands of rows
        return;
    for (const { name } of [...old.attributes]) {
        if (!wanted.hasAttribute(name) && name !== "open")
            old.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
        if (old.getAttribute(name) !== value && name !== "open")
            old.setAttribute(name, value);
    }
    if (old.getAttribute("role") !== "status")
        morph(old, [...wanted.childNodes]);
}

/** Has something drawn; what has the focus keeps it, and when it is taken away, the nearest place around it has it. */
export function keepingFocus(draw) {
    const around = [];
    for (let element = document.activeElement; element && element !== document.body; element = element.parentElement)
        around.push(element);
    draw();
    if (around.length === 0 || document.activeElement !== document.body)
        return;
    [...around, document.querySelector("main")].find(element => {
        element.focus({ preventScroll: true });
        return element === document.activeElement;
    });
}
