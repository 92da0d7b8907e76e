"""URLs that mean to reach this machine, its networks, or something that is not the web.

`{port}` stands for the port of a listener on this machine. Names resolve to 127.0.0.1 in the tests
that use these, whatever they are.
"""

# ruff: noqa: RUF001 - letters and digits that look like others are what is tried here
from collections.abc import Iterator
from typing import Final

# The loopback address and its neighbours, each in every spelling that some program takes.
_HOSTS: Final = """
127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.254 127.0.0.0 127.255.255.255
0.0.0.0 0.0.0.1 0.1.2.3
127.1 127.0.1 127. 127 0 1 0.0 0.0.0 127.0.0.1. 127.0.0.1.. .127.0.0.1 127..0.0.1 127.0.0
2130706433 2130706434 02130706433 017700000001 0x7f000001 0X7F000001 0x7F000001 0x7f.0.0.1
0x7f.1 0x7f.0x0.0x0.0x1 0177.0.0.1 0177.1 0177.0.01 00177.0.0.01 127.0.0.01 127.0.0.001
127.00.0.1 127.0x0.0.1 127.0.0.0x1 0x 0x0 0x.0x 0xg.1 1.2.3.4.5 127.0.0.1.1 256.256.256.256
127.0.0.256 127.0.0.1000 127.0.0.4294967297 4294967296 6425673729 0x100007f000001 00 000.000
127.0.0.-1 127.0.0.+1 127.0.0.1e0 1e3 1_27.0.0.1 127.0.0.1_ 0b1111111.0.0.1 0o177.0.0.1
localhost LOCALHOST LocalHost localhost. localhost.. .localhost localhost.localdomain
foo.localhost ip6-localhost ip6-loopback loopback broadcasthost kubernetes.default.svc
metadata metadata.google.internal instance-data localtest.me lvh.me 127.0.0.1.nip.io
7f000001.rbndr.us spoofed.burpcollaborator.net xn--localhost-.com host.docker.internal
[::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0001] [0::1] [::] [::0]
[::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:0001]
[0:0:0:0:0:ffff:127.0.0.1] [::ffff:0.0.0.0] [::ffff:0:127.0.0.1] [::ffff:10.0.0.1]
[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1]
[64:ff9b::169.254.169.254] [64:ff9b:1::7f00:1] [64:ff9b:1:ffff::127.0.0.1] [2002:7f00:1::1]
[2002:7f00:1::] [2002:a9fe:a9fe::] [2002:a00:1::1] [2001:0:7f00:1::] [2001::8000:f227:80ff:fffe]
[2001:db8::1] [2001:10::1] [2001:20::1] [2001:2::1] [3fff::1] [5f00::1] [100::1] [100:0:0:1::1]
[fe80::1] [fe80::1%25lo] [fe80::1%lo] [::1%25lo] [::1%lo] [::1%1] [fe80::a9fe:a9fe]
[fec0::1] [fc00::1] [fd00::1] [fd00:ec2::254] [fd20:ce::254] [ff02::1] [ff0e::1] [4000::1] [8000::1]
[::1 ::1] ::1 [::1]] [[::1]] [::1].com [::1]. [] [:] [::1:] [1] [127.0.0.1] [v1.fe80::1] [vF.1]
[localhost] [::g] [::ffff:127.1] [::ffff:0x7f.0.0.1] [::ffff:2130706433] [::12345] [1:2:3:4:5:6:7]
[1:2:3:4:5:6:7:8:9] [::1/128]
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1
100.100.100.200 100.127.255.255 169.254.169.254 169.254.170.2 169.254.0.1 192.0.0.1 192.0.0.192
192.0.0.9 192.0.0.171 192.0.2.1 192.88.99.1 192.88.99.2 192.31.196.1 192.52.193.1 192.175.48.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 0xa9fea9fe 2852039166 0251.0376.0251.0376 0xa9.0xfe.0xa9.0xfe 169.254.43518
127.0.0.1%00 127.0.0.1%20 127%2e0.0.1 %31%32%37.0.0.1 localhost%00 localhost%2ecom %6cocalhost
local_host local-.host -localhost localhost- a..b a.-b .. . - _ * *.localhost ~ $host {host}
①②⑦.⓪.⓪.① １２７.0.0.1 127。0。0。1 127．0．0．1 127｡0｡0｡1 ⓛocalhost ｌocalhost
ℓocalhost loc𝐚lhost localhoſt lоcalhost ⑯⑨。②⑤④。⑯⑨｡②⑤④ localhost\u200b loc\u00adalhost
\u202elocalhost ٠.0.0.0 १२७.0.0.1 faß.de straße.example b\u00fccher.example
""".split()  # noqa: SIM905 - it is read as a table

_RAW: Final = (
    # Other schemes.
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:{port}/_GET",
    "ftp://127.0.0.1:{port}/",
    "dict://127.0.0.1:{port}/d",
    "ldap://127.0.0.1:{port}/",
    "tcp://127.0.0.1:{port}/",
    "ws://127.0.0.1:{port}/",
    "wss://127.0.0.1:{port}/",
    "jar:http://127.0.0.1:{port}/!/",
    "netdoc:///etc/passwd",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "view-source:http://127.0.0.1:{port}/",
    "httpſ://127.0.0.1:{port}/",
    "url:http://127.0.0.1:{port}/",
    # No scheme, or one that is not followed by two slashes.
    "",
    "/",
    "//127.0.0.1:{port}/",
    "///127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "localhost:{port}/",
    ":{port}",
    "://127.0.0.1:{port}/",
    "http",
    "http:",
    "http:/",
    "http://",
    "http:///",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:////127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:/\\127.0.0.1:{port}/",
    "http:\\/127.0.0.1:{port}/",
    "http://?127.0.0.1:{port}/",
    "http://#127.0.0.1:{port}/",
    "http//127.0.0.1:{port}/",
    "http ://127.0.0.1:{port}/",
    "http:// 127.0.0.1:{port}/",
    "http://http://127.0.0.1:{port}/",
    # Userinfo, and what one reader takes for it and another does not.
    "http://user@127.0.0.1:{port}/",
    "http://user:secret@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://:@127.0.0.1:{port}/",
    "http://public.example@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@public.example/",
    "http://public.example:80@127.0.0.1:{port}/",
    "http://public.example%40127.0.0.1:{port}/",
    "http://public.example&@127.0.0.1:{port}/",
    "http://public.example@127.0.0.1@public.example:{port}/",
    "http://public.example#@127.0.0.1:{port}/",
    "http://public.example?@127.0.0.1:{port}/#",
    "http://public.example\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@public.example/",
    "http://127.0.0.1:{port}#@public.example/",
    "http://127.0.0.1:{port}#.public.example/",
    "http://127.0.0.1:{port}\\.public.example/",
    "http://127.0.0.1:{port};@public.example/",
    "http://127.0.0.1,public.example:{port}/",
    "http://127.0.0.1;public.example:{port}/",
    "http://public.example 127.0.0.1:{port}/",
    "http://(127.0.0.1):{port}/",
    "http://<127.0.0.1>:{port}/",
    "http://127.0.0.1|public.example:{port}/",
    # White space, line ends and other bytes that some programs leave out or stop at.
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ ",
    "\thttp://127.0.0.1:{port}/",
    "\nhttp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\n",
    "http://127.0.0.1:{port}/\r\n",
    "ht\ntp://127.0.0.1:{port}/",
    "http:\n//127.0.0.1:{port}/",
    "http:/\t/127.0.0.1:{port}/",
    "http://127.0.\t0.1:{port}/",
    "http://127.0.0.1\r\n:{port}/",
    "http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: other\r\n\r\n",
    "http://127.0.0.1:{port}/a b",
    "http://127.0.0.1:{port}/\x00",
    "http://127.0.0.1\x00.public.example:{port}/",
    "http://127.0.0.1\x7f:{port}/",
    "\ufeffhttp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\u2028",
    "http\u200b://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ü",
    "http:／／127.0.0.1:{port}/",
    "http://127.0.0.1：{port}/",
    "http://127.0.0.1:{port}／",
    # Ports.
    "http://127.0.0.1:/",
    "http://127.0.0.1:{port}:{port}/",
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:+{port}/",
    "http://127.0.0.1:-{port}/",
    "http://127.0.0.1: {port}/",
    "http://127.0.0.1:{port} /",
    "http://127.0.0.1:{port}.0/",
    "http://127.0.0.1:0x{port}/",
    "http://127.0.0.1:{port}a/",
    "http://127.0.0.1:http/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:131152/",
    "http://127.0.0.1:4294967376/",
    "http://127.0.0.1:8٠/",
    "http://127.0.0.1:８０/",
    "http://127.0.0.1:%38%30/",
    "http://[::1]{port}/",
    "http://[::1]:{port}:80/",
    # Longer than any URL, label or name.
    "http://127.0.0.1:{port}/" + "a" * 4096,
    "http://" + "a" * 64 + ".example:{port}/",
    "http://" + "a." * 127 + "example:{port}/",
    "http://" + "0" * 3000 + "127.0.0.1:{port}/",
    # Plain ones, which a careless policy would take.
    "HTTP://127.0.0.1:{port}/",
    "HtTpS://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}",
    "http://127.0.0.1:{port}?query",
    "http://127.0.0.1:{port}/../../",
    "http://127.0.0.1:{port}//public.example/",
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "https://localhost/",
    "https://[::1]/",
)


def hostile_urls(port: int) -> Iterator[str]:
    """Give all of them, aimed at a port."""
    for host in _HOSTS:
        yield f"http://{host}:{port}/"
        yield f"https://{host}:{port}/oobi"
    for url in _RAW:
        yield url.replace("{port}", str(port))
