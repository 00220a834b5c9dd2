(function (ask) {
  "use strict";
  /* The inside of one run. Everything it needs is taken here, before a script can change it. Lines are joined when it is loaded:
     its own frames stand in line 1, a script's begin in line 2. */
  const run = eval, parse = JSON.parse, stringify = JSON.stringify, text = String, apply = Reflect.apply, slice = String.prototype.slice, mend = String.prototype.toWellFormed;
  const keys = Object.keys, now = Date.now, whole_number = parseInt, fraction = parseFloat;
  const Refusal = Error, Forbidden = TypeError;
  const MOST_MESSAGE = 8192;
  const cut = (words, most) => words.length > most ? apply(slice, words, [0, most]) : words;
  /* Half of a character, as a cut may leave it, is no JSON that anybody reads. */
  const sound = (words) => apply(mend, words, []);
  /* What was joined from long pieces is not one piece within the engine, and cannot leave it like that. */
  const whole = (words) => apply(slice, words, [0]);

  /* secrets: read on demand, shown by name only */
  const read = { __proto__: null };
  let refusal, refused, list;
  const names = () => list || (list = parse(ask("names", "")));
  const reveal = (name) => {
    if (name in read) return read[name];
    const answer = parse(ask("secret", stringify(sound(cut(name, 1024)))));
    if ("refused" in answer) {
      refused = answer.refused;
      throw refusal = new Refusal(refused.message);
    }
    return read[name] = answer.value;
  };
  const shown = () => { const all = names(); let words = ""; for (let at = 0; at < all.length; at++) words += (at ? ", " : "") + all[at]; return "[secrets: " + words + "]"; };
  const has = (name) => { const all = names(); for (let at = 0; at < all.length; at++) if (all[at] === name) return true; return false; };
  const closed = () => { throw new Forbidden("secrets cannot be changed by a script"); };
  const secrets = new Proxy({ __proto__: null }, {
    __proto__: null,
    get: (_, name) => typeof name === "symbol" || name === "then" || name === "valueOf" ? undefined : name === "toJSON" ? names : name === "toString" ? shown : reveal(name),
    has: (_, name) => typeof name === "string" && has(name),
    ownKeys: () => parse(stringify(names())),
    getOwnPropertyDescriptor: (_, name) => typeof name === "string" && has(name) ? { get: () => reveal(name), enumerable: true, configurable: true } : undefined,
    getPrototypeOf: () => null, set: closed, deleteProperty: closed, defineProperty: closed, setPrototypeOf: closed, preventExtensions: closed,
  });

  /* console */
  let lines = 0, most, width;
  const show = (value) => {
    if (typeof value === "string") return value;
    if (typeof value === "function") return "[function]";
    if (typeof value !== "object" || value === null) return text(value);
    if (value instanceof Refusal) return text(value.name) + ": " + text(value.message);
    const json = stringify(value);
    return json === undefined ? "undefined" : json[0] === '"' ? parse(json) : json;
  };
  const UNSHOWN = "[something that cannot be shown]";
  const attempt = (how, value) => { try { return how(value); } catch { return UNSHOWN; } };
  const number = (value) => text(typeof value === "bigint" ? value : +value);
  /* what stands for a value in the first text, as in browsers */
  const shows = { __proto__: null, s: show, o: show, O: show, j: stringify, d: number, i: (value) => text(whole_number(value)), f: (value) => text(fraction(value)), c: () => "" };
  const joined = (values, from) => {
    let line = "", next = from;
    if (typeof values[from] === "string" && values.length > from + 1) {
      const pattern = cut(values[next++], width + 1);
      for (let at = 0; at < pattern.length && line.length <= width; at++) {
        const kind = pattern[at] === "%" ? pattern[at + 1] : undefined;
        if (kind === "%") { line += "%"; at++; }
        else if (kind !== undefined && kind in shows && next < values.length) { line += cut(text(attempt(shows[kind], values[next++])), width + 1); at++; }
        else line += pattern[at];
      }
    }
    for (; next < values.length && line.length <= width; next++) line += (next > from ? " " : "") + cut(attempt(show, values[next]), width + 1);
    return line;
  };
  let indent = "";
  const tell = (level, compose) => {
    if (lines > most) return;
    if (lines++ === most) return void ask("warn", stringify("Further lines are left out: the limit is " + most + " lines."));
    ask(level, stringify(cut(indent + attempt(compose), width + 1)));
  };
  const teller = (level) => (...values) => tell(level, () => joined(values, 0));
  const table = (data, only) => {
    const rows = keys(data), columns = { __proto__: null }, named = [];
    let plain = false;
    for (let at = 0; at < rows.length; at++) {
      const row = data[rows[at]];
      if (typeof row !== "object" || row === null) { plain = true; continue; }
      const own = keys(row);
      for (let of = 0; of < own.length; of++) if (!(own[of] in columns)) { columns[own[of]] = true; named[named.length] = own[of]; }
    }
    const wanted = typeof only === "object" && only !== null ? only : named;
    let words = "(index)";
    for (let at = 0; at < wanted.length; at++) words += " | " + show(wanted[at]);
    if (plain) words += " | Values";
    for (let at = 0; at < rows.length && words.length <= width; at++) {
      const row = data[rows[at]], inner = typeof row === "object" && row !== null;
      words += "\n" + rows[at];
      for (let of = 0; of < wanted.length; of++) words += " | " + (inner && wanted[of] in row ? show(row[wanted[of]]) : "");
      if (plain) words += " | " + (inner ? "" : show(row));
    }
    return words;
  };
  const counts = { __proto__: null }, times = { __proto__: null };
  const passed = (label, values) => tell(label in times ? "info" : "warn", () => label in times
    ? label + ": " + (now() - times[label]) + " ms" + (values.length > 1 ? " " + joined(values, 1) : "") : "There is no timer '" + label + "'.");
  const group = (...values) => {
    if (values.length) tell("info", () => joined(values, 0));
    if (indent.length < 64) indent += "  ";
  };
  const console = {
    log: teller("info"), info: teller("info"), warn: teller("warn"), error: teller("error"), debug: teller("debug"), trace: teller("debug"), dirxml: teller("info"),
    dir: (value) => tell("info", () => show(value)),
    table: (data, only) => tell("info", () => typeof data === "object" && data !== null ? table(data, only) : show(data)),
    assert: (holds, ...values) => { if (!holds) tell("error", () => "Assertion failed" + (values.length ? ": " + joined(values, 0) : "")); },
    count: (label = "default") => { label = text(label); counts[label] = (counts[label] || 0) + 1; tell("info", () => label + ": " + counts[label]); },
    countReset: (label = "default") => { delete counts[text(label)]; },
    time: (label = "default") => { times[text(label)] = now(); },
    timeLog: (...values) => passed(text(values.length ? values[0] : "default"), values),
    timeEnd: (label = "default") => { passed(text(label), []); delete times[text(label)]; },
    group, groupCollapsed: group, groupEnd: () => { indent = apply(slice, indent, [2]); }, clear: () => {},
  };

  /* errors */
  const describe = (error, part) => {
    let name = "", message = "", stack = "";
    try {
      if (typeof error === "object" && error !== null && "stack" in error && "message" in error) {
        name = text(error.name); message = text(error.message); stack = text(error.stack);
      } else message = show(error);
    } catch { name = ""; message = "The script threw something that cannot be shown."; }
    return stringify({
      failed: { name: sound(cut(name, 256)), message: sound(cut(message, MOST_MESSAGE)), stack: sound(cut(stack, MOST_MESSAGE)), part, empty: error === null, refused: error === refusal ? refused : undefined },
    });
  };
  const compile = (part, parameters) => {
    const head = "(function(" + parameters + "){return " + (part.waits ? "async " : "") + "function(){";
    let first;
    try { return run(head + "return(\n" + part.expression + "\n)}})"); } catch (error) { first = error; }
    try { return run(head + "\n" + part.source + "\n}})"); } catch (error) { throw { stacks: [first.stack, error.stack], messages: [first.message, error.message] }; }
  };

  /* one call: compile every part, run them in turn, answer with JSON text */
  let reply, parts, given, values, prepared, result, after, filled = "", most_output, watched;
  const json = (value) => { const words = stringify(value); return words === undefined ? "null" : words; };
  const place = (name) => { for (let at = 0; at < given.length; at++) if (given[at] === name) return at; return -1; };
  const put = (name, value) => { const at = place(name); if (at >= 0) values[at] = value; };
  const words_of = (value) => {
    if (value === undefined) throw new Forbidden("the expression is undefined; within a text write ${ ... ?? '' } or another value");
    if (typeof value !== "object" || value === null) return text(value);
    return show(value);
  };
  const take = (part, value) => {
    switch (part.role) {
      case "prep": if (value !== undefined) put("input", value); return;
      case "main": result = value; put("output", value); return;
      case "post": after = value; return;
      default: filled += (filled ? "," : "") + (part.role === "text" ? stringify(words_of(value)) : json(value));
    }
    if (filled.length > most_output) throw output;
  };
  const output = { __proto__: null };
  const finish = () => {
    let answer = '{"values":[' + filled + '],"value":' + json(result) + ',"defined":' + (result !== undefined) + ',"post":' + json(after);
    if (watched !== undefined) {
      const now = json(values[place("shared")]);
      if (now !== watched) answer += ',"shared":' + now;
    }
    reply = answer.length > most_output + 256 ? '{"failed":{"output":true}}' : answer + "}";
  };
  const give_up = (error, index) => { reply = error === output ? '{"failed":{"output":true}}' : describe(error, index); };
  const waiting = (value) => typeof value === "object" && value !== null && value !== secrets && typeof value.then === "function";
  const follow = async (value, index) => {
    try {
      value = await value;
      take(parts[index], typeof value === "function" ? await value(values[place("input")]) : value);
    } catch (error) { return give_up(error, index); }
    go(index + 1);
  };
  const go = (index) => {
    try {
      for (; index < parts.length; index++) {
        let value = prepared[index] = apply(apply(prepared[index], undefined, values), undefined, []);
        if (typeof value === "function") value = value(values[place("input")]);
        if (waiting(value)) return void follow(value, index);
        take(parts[index], value);
      }
      finish();
    } catch (error) { give_up(error, index); }
  };
  return (call) => {
    if (call === null) return reply && whole(reply);
    ({ parts, given, most, width, most_output } = call);
    values = []; prepared = [];
    for (let at = 0; at < given.length; at++) values[at] = given[at] === "secrets" ? secrets : given[at] === "console" ? console : call.names[given[at]];
    if (call.watch) watched = json(values[place("shared")]);
    for (let at = 0; at < parts.length; at++) {
      try { prepared[at] = compile(parts[at], call.parameters); }
      catch (error) { return reply = stringify({ failed: { part: at, syntax: true, stacks: error.stacks, messages: error.messages } }); }
    }
    go(0);
    return reply && whole(reply);
  };
})
