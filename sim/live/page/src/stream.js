// The line to the run: server-sent events over fetch (EventSource cannot bear a token), and commands.

/** The server says so often that it is there; after so long without a word it is not. */
const SILENT_MS = 15_000;

/** What the server will not do; its `status` is that of HTTP. */
export class Refused extends Error {
  static async by(response) {
    return Object.assign(new Refused((await response.text()).trim()), { status: response.status });
  }
}

export class Line {
  constructor(token) {
    this.headers = { authorization: `Bearer ${token}` };
  }

  async get(path, signal) {
    const response = await fetch(path, { headers: this.headers, signal });
    if (!response.ok) throw await Refused.by(response);
    return response;
  }

  async ask(command) {
    const response = await fetch("control", {
      method: "POST",
      headers: { ...this.headers, "content-type": "application/json" },
      body: JSON.stringify(command),
    });
    if (!response.ok) throw await Refused.by(response);
  }

  /** Hand each event to `take(kind, content)` until the stream ends; rejects when it breaks or falls silent. */
  async follow(take) {
    const silence = new AbortController();
    let patience = setTimeout(() => silence.abort(), SILENT_MS);
    try {
      const response = await this.get("stream", silence.signal);
      await this.read(response.body.pipeThrough(new TextDecoderStream()).getReader(), take, () => {
        clearTimeout(patience);
        patience = setTimeout(() => silence.abort(), SILENT_MS);
      });
    } finally {
      clearTimeout(patience);
    }
  }

  async read(reader, take, heard) {
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const [, kind, body] = /^event: (\w+)\ndata: ([^]*)$/.exec(event) ?? [];
        if (kind) take(kind, JSON.parse(body));
      }
    }
  }
}
