"""A container engine for tests: the few commands of docker and podman that a developer's services need.

A container is a process that listens on its published ports; the state is a JSON file. What it answers has the fields that
`docker inspect` documents (https://docs.docker.com/reference/cli/docker/inspect/).
"""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = r'''#!{python} -IS
import json, os, pathlib, signal, socket, subprocess, sys, uuid

STATE = pathlib.Path({state!r})
IMAGES = {images!r}
LISTEN = """
import socket, sys, threading, time
def serve(door):
    while True:
        door.accept()[0].close()
for number in sys.argv[1:]:
    door = socket.create_server(("127.0.0.1", int(number)))
    threading.Thread(target=serve, args=(door,), daemon=True).start()
time.sleep(600)
"""

def load():
    return json.loads(STATE.read_text()) if STATE.exists() else {{"containers": {{}}, "images": []}}

def save(state):
    STATE.write_text(json.dumps(state))

def free():
    with socket.create_server(("127.0.0.1", 0)) as door:
        return door.getsockname()[1]

def alive(pid):
    try:
        return pathlib.Path(f"/proc/{{pid}}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False

def option(words, name):
    return [word[len(name) + 1:] for word in words if word.startswith(name + "=")]

def main(words):
    state = load()
    command, rest = words[0], words[1:]
    if command == "ps":
        wanted = [word for word in rest if word.startswith("label=")]
        for name, one in state["containers"].items():
            labels = ["label=" + key + "=" + value for key, value in one["Config"]["Labels"].items()]
            if all(word in labels for word in wanted):
                print(name)
    elif command == "pull":
        if rest[0] not in IMAGES:
            sys.exit("manifest unknown: " + rest[0])
        state["images"].append(rest[0])
    elif words[:2] == ["image", "inspect"]:
        if words[2] not in state["images"]:
            sys.exit("no such image")
        print(json.dumps([{{"Config": {{"ExposedPorts": {{f"{{port}}/tcp": {{}} for port in IMAGES[words[2]]}}}}}}]))
    elif words[:2] == ["image", "rm"]:
        state["images"].remove(words[2])
    elif command == "run":
        image = next(word for word in rest if word in IMAGES)
        names = [one.partition("=")[0] for one in option(rest, "--env")]
        values = {{name: os.environ[name] for name in names}}
        labels = dict(one.split("=", 1) for one in option(rest, "--label"))
        inside = [one.split("::")[1] for one in option(rest, "--publish")]
        assert all(one.startswith("127.0.0.1::") for one in option(rest, "--publish")), rest
        ports = {{one: free() for one in inside}}
        broken = values.get("BROKEN") == "yes"
        argv = [sys.executable, "-c", LISTEN, *map(str, ports.values())]
        process = None if broken else subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        name = uuid.uuid4().hex
        called = rest[rest.index("--name") + 1]
        state["containers"][name] = {{
            "Id": name,
            "Name": called,
            "Pid": process.pid if process else 0,
            "Values": values,
            "Config": {{"Labels": labels, "Image": image}},
            "NetworkSettings": {{"Ports": {{key: [{{"HostPort": str(value)}}] for key, value in ports.items()}}}},
        }}
        print(name)
    elif words[:2] == ["container", "inspect"]:
        found = [dict(state["containers"][word]) for word in words[2:]]
        for one in found:
            one["State"] = {{"Running": alive(one["Pid"]) if one["Pid"] else False, "ExitCode": 3, "Status": "exited"}}
        print(json.dumps(found))
    elif command == "logs":
        print("it says why")
    elif command == "rm":
        for one in [one for one in state["containers"].values() if rest[-1] in (one["Id"], one["Name"])]:
            del state["containers"][one["Id"]]
            if one["Pid"]:
                os.kill(one["Pid"], signal.SIGKILL)
    else:
        sys.exit("unknown: " + " ".join(words))
    save(state)

main(sys.argv[1:])
'''


def install(folder: Path, images: dict[str, list[int]], name: str = "docker") -> Path:
    """Put the program into `folder`, which is to be on PATH; where its state is."""
    folder.mkdir(exist_ok=True)
    state = folder / "state.json"
    program = folder / name
    program.write_text(_PROGRAM.format(python=sys.executable, state=str(state), images=images))
    program.chmod(0o755)
    return state
