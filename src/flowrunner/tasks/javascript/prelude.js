(function (ask) {
  "use strict";
  /* The inside of one run. Everything it needs is taken here, before a script can change it. Lines are joined when it is loaded:
     its own frames stand in line 1, a script's begin in line 2. */
  const run = eval, parse = JSON.parse, stringify = JSON.stringify, text = String, apply = Reflect.apply, slice = String.prototype.slice;
  const Refusal = Error, Forbidden = TypeError;
  const MOST_MESSAGE = 8192;
  const cut = (words, most) => words.length > most ? apply(slice, words, [0, most]) : words;
  /* What was joined from long pieces is not one piece within the engine, and cannot leave it like that. */
  const whole = (words) => apply(slice, words, [0]);

  /* secrets: read on demand, shown by name only */
  const read = { __proto__: null };
  let refusal, refused, list;
  const names = () => list || (list = parse(ask("names", "")));
  const reveal = (name) => {
    if (name in read) return read[name];
    const answer = parse(ask("secret", stringify(cut(name, 1024))));
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
  const teller = (level) => (...values) => {
    if (lines > most) return;
    if (lines++ === most) return void ask("warn", stringify("Further lines are left out: the limit is " + most + " lines."));
    let line = "";
    for (let at = 0; at < values.length && line.length <= width; at++) {
      let words;
      try { words = show(values[at]); } catch { words = "[something that cannot be shown]"; }
      line += (at ? " " : "") + cut(words, width + 1);
    }
    ask(level, stringify(cut(line, width + 1)));
  };
  const console = { log: teller("info"), info: teller("info"), warn: teller("warn"), error: teller("error"), debug: teller("debug"), trace: teller("debug") };

  /* errors */
  const describe = (error, part) => {
    let name = "", message = "", stack = "";
    try {
      if (typeof error === "object" && error !== null && "stack" in error && "message" in error) {
        name = text(error.name); message = text(error.message); stack = text(error.stack);
      } else message = show(error);
    } catch { name = ""; message = "The script threw something that cannot be shown."; }
    return stringify({
      failed: { name: cut(name, 256), message: cut(message, MOST_MESSAGE), stack: cut(stack, MOST_MESSAGE), part, empty: error === null, refused: error === refusal ? refused : undefined },
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
