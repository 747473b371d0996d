#!/usr/bin/env python3
"""Small Alibaba OSS look-alike that VERIFIES OSS4-HMAC-SHA256 header signatures. python3 ossd.py PORT DIR AK SK [REGION]"""
import sys, os, re, hmac, html, json, hashlib, base64, threading, datetime, uuid, urllib.parse as U
from http.server import ThreadingHTTPServer, BaseHTTPRequestHandler
PORT, ROOT, AK, SK = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]; REGION = sys.argv[5] if len(sys.argv) > 5 else 'cn-test'
LOCK = threading.Lock(); UP = {}; META = {}
def crc64(data, c=0, T=[]):
    if not T:
        for i in range(256):
            r = i
            for _ in range(8): r = (r >> 1) ^ (0xC96C5795D7870F42 if r & 1 else 0)
            T.append(r)
    c ^= 0xFFFFFFFFFFFFFFFF
    for b in data: c = T[(c ^ b) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFFFFFFFFFF
ISO = '%Y-%m-%dT%H:%M:%S.000Z'
def keys(d): return sorted(os.path.relpath(os.path.join(at, n), d) for at, _, names in os.walk(d) for n in names if not n.endswith('~'))
def when(path, form): return datetime.datetime.utcfromtimestamp(int(os.path.getmtime(path))).strftime(form)
class H(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def out(self, code, body=b'', **h):
        self.send_response(code); h.setdefault('x_oss_request_id', uuid.uuid4().hex)
        for k, v in h.items(): self.send_header(k.replace('_', '-'), str(v))
        if code != 204 and 'Content_Length' not in h: self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)
    def err(self, code, c, msg=''):
        self.out(code, f'<?xml version="1.0"?><Error><Code>{c}</Code><Message>{msg}</Message><RequestId>1</RequestId><HostId>x</HostId></Error>'.encode(), Content_Type='application/xml')
    def verify(self, bucket, key):
        a = self.headers.get('Authorization', '')
        if not a.startswith('OSS4-HMAC-SHA256 '): return 'AccessDenied'
        p = dict(x.strip().split('=', 1) for x in a[17:].split(','))
        cred = p['Credential'].split('/')
        if cred[0] != AK: return 'InvalidAccessKeyId'
        if cred[2:] != [REGION, 'oss', 'aliyun_v4_request']: return 'InvalidArgument'
        date = self.headers.get('x-oss-date', ''); t = datetime.datetime.strptime(date, '%Y%m%dT%H%M%SZ')
        if abs((datetime.datetime.utcnow() - t).total_seconds()) > 900: return 'RequestTimeTooSkewed'
        if self.headers.get('x-oss-content-sha256') != 'UNSIGNED-PAYLOAD': return 'InvalidArgument'
        add = [x for x in p.get('AdditionalHeaders', '').split(';') if x]
        hs = {k.lower(): v.strip() for k, v in self.headers.items()}
        ch = ''.join(f'{k}:{hs[k]}\n' for k in sorted(hs) if k.startswith('x-oss-') or k in ('content-type', 'content-md5') or k in add)
        q = sorted(x.partition('=')[::2] for x in U.urlsplit(self.path).query.split('&') if x)
        cq = '&'.join(k + (f'={v}' if v else '') for k, v in q)
        uri = U.quote('/' + (bucket + '/' if bucket else '') + key, safe='/')
        can = '\n'.join([self.command, uri, cq, ch, ';'.join(add), 'UNSIGNED-PAYLOAD'])
        sts = '\n'.join(['OSS4-HMAC-SHA256', date, '/'.join(cred[1:]), hashlib.sha256(can.encode()).hexdigest()])
        k = ('aliyun_v4' + SK).encode()
        for s in (date[:8], REGION, 'oss', 'aliyun_v4_request'): k = hmac.new(k, s.encode(), hashlib.sha256).digest()
        return None if hmac.compare_digest(hmac.new(k, sts.encode(), hashlib.sha256).hexdigest(), p['Signature']) else 'SignatureDoesNotMatch'
    def handle_any(self):
        u = U.urlsplit(self.path); path = U.unquote(u.path); q = dict(U.parse_qsl(u.query, keep_blank_values=True))
        host = self.headers['Host'].split(':')[0]
        if host.replace('.', '').isdigit() or host == 'localhost': bucket, _, key = path[1:].partition('/')     # path style (OSS itself refuses it)
        else: bucket, key = host.split('.')[0], path[1:]                                                       # virtual host: bucket.localhost
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0)) if 'chunked' not in self.headers.get('Transfer-Encoding', '') else self.chunked()
        e = self.verify(bucket, key)
        if e: return self.err(403, e)
        md5 = self.headers.get('Content-MD5')
        if md5 and md5 != base64.b64encode(hashlib.md5(body).digest()).decode(): return self.err(400, 'InvalidDigest')
        d = os.path.join(ROOT, bucket); at = lambda k: os.path.join(d, k); f = at(key); m = self.command
        crc = lambda b: {'x_oss_hash_crc64ecma': crc64(b)} if len(b) < 100_000 else {};     # Python takes a second for 10 MB
        etag = lambda b: '"' + hashlib.md5(b).hexdigest().upper() + '"'
        with LOCK:
            if not key:
                if m == 'PUT': os.makedirs(d, exist_ok=True); return self.out(200)
                if not os.path.isdir(d): return self.err(404, 'NoSuchBucket')
                if m == 'GET':
                    pre, after, mx = q.get('prefix', ''), q.get('continuation-token') or q.get('start-after') or q.get('marker', ''), min(int(q.get('max-keys', 100)), 1000)
                    ks = [k for k in keys(d) if k.startswith(pre) and k > after]; page = ks[:mx]; tr = len(ks) > mx
                    it = ''.join(f'<Contents><Key>{U.quote(k)}</Key><LastModified>{when(at(k), ISO)}</LastModified><ETag>"x"</ETag><Type>Normal</Type><Size>{os.path.getsize(at(k))}</Size><StorageClass>Standard</StorageClass></Contents>' for k in page)
                    return self.out(200, f'<?xml version="1.0"?><ListBucketResult><Name>{bucket}</Name><Prefix>{pre}</Prefix><MaxKeys>{mx}</MaxKeys><EncodingType>url</EncodingType><KeyCount>{len(page)}</KeyCount><IsTruncated>{str(tr).lower()}</IsTruncated>{"<NextContinuationToken>"+U.quote(page[-1])+"</NextContinuationToken>" if tr else ""}{it}</ListBucketResult>'.encode(), Content_Type='application/xml')
                if m == 'POST' and 'delete' in q:
                    if not md5: return self.err(400, 'MissingArgument', 'Content-MD5')
                    ks = [html.unescape(k) for k in re.findall(r'<Key>(.*?)</Key>', body.decode())]
                    for k in ks:
                        try: os.remove(at(k))
                        except FileNotFoundError: pass
                    said = '' if b'<Quiet>true' in body else ''.join(f'<Deleted><Key>{html.escape(k)}</Key></Deleted>' for k in ks)
                    return self.out(200, f'<?xml version="1.0"?><DeleteResult>{said}</DeleteResult>'.encode(), Content_Type='application/xml')
            meta = {k.lower(): v for k, v in self.headers.items() if k.lower().startswith('x-oss-meta-')}
            if m == 'POST' and 'uploads' in q:
                i = uuid.uuid4().hex; UP[i] = {}; META[i] = meta; return self.out(200, f'<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{i}</UploadId></InitiateMultipartUploadResult>'.encode(), Content_Type='application/xml')
            if 'uploadId' in q and m == 'PUT': UP[q['uploadId']][int(q['partNumber'])] = body; return self.out(200, ETag=etag(body), **crc(body))
            if 'uploadId' in q and m == 'DELETE': UP.pop(q['uploadId'], None); return self.out(204)
            if 'uploadId' in q and m == 'POST': ps = UP.pop(q['uploadId']); body = b''.join(ps[n] for n in sorted(ps)); m = 'PUT'; mpu = True; meta = META.pop(q['uploadId'])
            else: mpu = False
            if m == 'PUT':
                if not os.path.isdir(d): return self.err(404, 'NoSuchBucket')
                if self.headers.get('x-oss-forbid-overwrite') == 'true' and os.path.exists(f): return self.err(409, 'FileAlreadyExists')
                os.makedirs(os.path.dirname(f), exist_ok=True); open(f + '.tmp~', 'wb').write(body); open(f + '.meta~', 'w').write(json.dumps(meta)); os.replace(f + '.tmp~', f)     # beside it, for tests to read
                return self.out(200, f'<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>{etag(body)}</ETag></CompleteMultipartUploadResult>'.encode() if mpu else b'', ETag=etag(body), **crc(body))
            if m == 'DELETE':
                if os.path.exists(f): os.remove(f)
                return self.out(204)
            if not os.path.isfile(f): return self.err(404, 'NoSuchKey')
            b = open(f, 'rb').read(); r = self.headers.get('Range', ''); h = dict(ETag=etag(b), **crc(b), x_oss_object_type='Normal', Last_Modified=when(f, '%a, %d %b %Y %H:%M:%S GMT')); h.update(json.load(open(f + '.meta~')) if os.path.exists(f + '.meta~') else {})
            if m == 'HEAD': return self.out(200, b, Content_Length=len(b), **h)
            if r.startswith('bytes='):
                s, _, e2 = r[6:].partition('-'); s, e2 = (len(b) - int(e2), len(b) - 1) if not s else (int(s), min(int(e2 or len(b) - 1), len(b) - 1))
                if s >= len(b) and self.headers.get('x-oss-range-behavior') == 'standard': return self.err(416, 'InvalidRange')
                if s < len(b): return self.out(206, b[s:e2 + 1], Content_Range=f'bytes {s}-{e2}/{len(b)}', **h)     # OSS: bad range -> 200 whole object unless x-oss-range-behavior: standard
            return self.out(200, b, **h)
    def chunked(self):
        b = b''
        while (n := int(self.rfile.readline().split(b';')[0], 16)): b += self.rfile.read(n); self.rfile.readline()
        self.rfile.readline(); return b
    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any
os.makedirs(ROOT, exist_ok=True); ThreadingHTTPServer(('127.0.0.1', PORT), H).serve_forever()
