"""A stand-in for curl, where there is none: the few options that the documentation uses."""

import http.client
import sys
from urllib.parse import urlsplit


def main(args: list[str]) -> None:
    method, url, data, headers, show = "", "", None, {"Accept": "*/*", "User-Agent": "curl"}, False
    words = iter(args)
    for word in words:
        if word in ("-d", "--data", "--json"):
            method, data = method or "POST", next(words)
            kind = "json" if word == "--json" else "x-www-form-urlencoded"
            headers.setdefault("Content-Type", f"application/{kind}")
        elif word == "-H":
            name, _, value = next(words).partition(":")
            headers[name] = value.strip()
        elif word == "-X":
            method = next(words)
        elif word.startswith("-"):
            if set(word[1:]) - set("siI"):
                sys.exit(f"curl: what is {word}?")
            show = show or "i" in word.lower()
            method = "HEAD" if "I" in word else method
        else:
            url = word
    parts = urlsplit(url if "://" in url else f"http://{url}")
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection.request(method or "GET", target, data, headers)
    response = connection.getresponse()
    if show:
        lines = [f"HTTP/1.1 {response.status} {response.reason}", *(": ".join(pair) for pair in response.getheaders())]
        sys.stdout.write("\r\n".join([*lines, "", ""]))
    sys.stdout.write(response.read().decode())


if __name__ == "__main__":
    main(sys.argv[1:])
