"""One process that makes network calls, each in its turn, for strace to see."""

import select
import socket

with socket.create_server(("127.0.0.1", 8000)) as listener:
    listener.setblocking(False)
    try:
        listener.accept()
    except BlockingIOError:
        print("nobody yet")
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect(("127.0.0.1", 8000))
    listener.settimeout(5)
    server, _ = listener.accept()
    client.sendall(b"hello \x00\xff\r\n" + b"x" * 100)
    print(len(server.recv(4096)))
    with select.epoll() as epoll:
        epoll.register(server.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
        print(epoll.poll(0))
        client.shutdown(socket.SHUT_WR)
        print(epoll.poll(1))
    print(server.recv(10), server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    print(select.select([server], [], [], 2)[0] == [server])
    print(server.getsockname()[1], client.getpeername()[1])
    try:
        server.send(b"late", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    finally:
        server.close()
    client.settimeout(2)
    print(client.recv(100), client.recv(100))
    client.close()
with socket.socket() as other:
    print(other.connect_ex(("127.0.0.1", 8001)))
