// The line to the run: server-sent events over fetch (EventSource cannot bear a token), and commands.

export class Refused extends Error {}

export class Line {
  constructor(token) {
    this.headers = { authorization: `Bearer ${token}` };
  }

  async get(path) {
    const response = await fetch(path, { headers: this.headers });
    if (!response.ok) throw new Refused((await response.text()).trim());
    return response;
  }

  async ask(command) {
    const response = await fetch("control", {
      method: "POST",
      headers: { ...this.headers, "content-type": "application/json" },
      body: JSON.stringify(command),
    });
    if (!response.ok) throw new Refused((await response.text()).trim());
  }

  /** Hand each event to `take(kind, content)` until the stream ends; rejects when it breaks. */
  async follow(take) {
    const response = await this.get("stream");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const [, kind, body] = /^event: (\w+)\ndata: ([^]*)$/.exec(event) ?? [];
        if (kind) take(kind, JSON.parse(body));
      }
    }
  }
}
