"""xmlrpc.server and xmlrpc.client.  python procedures.py server|client HOST PORT"""

import datetime
import sys
import xmlrpc.client
import xmlrpc.server

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def serve() -> None:
    running = True

    def stop() -> str:
        nonlocal running
        running = False
        return "stopping"

    address = (host, port)
    with xmlrpc.server.SimpleXMLRPCServer(address, logRequests=False, allow_none=True) as server:
        server.register_introspection_functions()
        server.register_function(pow)
        server.register_function(lambda *numbers: sorted(numbers), "sort")
        server.register_function(lambda data: xmlrpc.client.Binary(data.data[::-1]), "reverse")
        server.register_function(stop)
        print("ready", flush=True)
        while running:
            server.handle_request()
    print("stopped")


def client() -> None:
    with xmlrpc.client.ServerProxy(f"http://{host}:{port}", allow_none=True) as server:
        print(server.system.listMethods())
        print(server.pow(2, 30), server.sort(3, 1, 2))
        print(server.reverse(xmlrpc.client.Binary(b"abc" * 10_000)).data[:6])
        print([str(when) for when in server.sort(datetime.datetime(2024, 2, 29, 12))])
        try:
            server.pow("a")
        except xmlrpc.client.Fault as fault:
            print(fault.faultCode, fault.faultString.split(":")[0])
        print(server.stop())


serve() if role == "server" else client()
