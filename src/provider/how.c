/* How calls end: the names, and what libcurl's results mean. */
#include "provider/pool.h"

const char *np_call_how_name(enum np_call_how how)
{
    static const char *const names[] = {
        [NP_CALL_COMPLETE] = "complete",
        [NP_CALL_NO_NAME] = "name not resolved",
        [NP_CALL_NO_CONNECTION] = "no connection",
        [NP_CALL_NO_TLS] = "TLS failed",
        [NP_CALL_RESET] = "connection lost",
        [NP_CALL_CONNECT_TIMEOUT] = "connect timeout",
        [NP_CALL_FIRST_BYTE_TIMEOUT] = "first byte timeout",
        [NP_CALL_IDLE_TIMEOUT] = "idle timeout",
        [NP_CALL_TOTAL_TIMEOUT] = "total timeout",
        [NP_CALL_TOO_LARGE] = "reply too large",
        [NP_CALL_BAD_FRAMING] = "reply malformed",
        [NP_CALL_NO_MEMORY] = "out of memory",
    };
    np_require((size_t)how < sizeof names / sizeof names[0]);
    return names[how];
}

struct meaning {
    CURLcode code;
    enum np_call_how how;
};

static const struct meaning meanings[] = {
    {CURLE_OK, NP_CALL_COMPLETE},
    {CURLE_COULDNT_RESOLVE_HOST, NP_CALL_NO_NAME},
    {CURLE_COULDNT_CONNECT, NP_CALL_NO_CONNECTION},
    {CURLE_SSL_CONNECT_ERROR, NP_CALL_NO_TLS},
    {CURLE_PEER_FAILED_VERIFICATION, NP_CALL_NO_TLS},
    {CURLE_SSL_CERTPROBLEM, NP_CALL_NO_TLS},
    {CURLE_SSL_CIPHER, NP_CALL_NO_TLS},
    {CURLE_SSL_CACERT_BADFILE, NP_CALL_NO_TLS},
    {CURLE_SSL_ISSUER_ERROR, NP_CALL_NO_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, NP_CALL_NO_TLS},
    {CURLE_SSL_ENGINE_INITFAILED, NP_CALL_NO_TLS},
    {CURLE_FILESIZE_EXCEEDED, NP_CALL_TOO_LARGE}, /* a Content-Length beyond 63 bits */
#if LIBCURL_VERSION_NUM >= 0x080600
    {CURLE_TOO_LARGE, NP_CALL_TOO_LARGE},
#endif
    {CURLE_WEIRD_SERVER_REPLY, NP_CALL_BAD_FRAMING},
    {CURLE_UNSUPPORTED_PROTOCOL, NP_CALL_BAD_FRAMING}, /* no status line: HTTP/0.9 */
    {CURLE_BAD_CONTENT_ENCODING, NP_CALL_BAD_FRAMING},
    {CURLE_OUT_OF_MEMORY, NP_CALL_NO_MEMORY},
};

static long status_of(const struct np_call *call)
{
    long status = 0;
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* A header line over 100 KB. libcurl before 8.6 calls it a want of memory. */
static bool header_too_long(CURLcode code, const struct np_call *call)
{
#if LIBCURL_VERSION_NUM >= 0x080600
    bool too_large = code == CURLE_TOO_LARGE;
#else
    bool too_large = code == CURLE_OUT_OF_MEMORY;
#endif
    return too_large && call->first_byte_ns != 0 && !call->head_done;
}

enum np_call_how np_how_of(CURLcode code, const struct np_call *call)
{
    if (code == CURLE_OK && !call->head_done) {
        /* After a 101 no reply comes. Else the connection was closed in the midst of the head, which
         * libcurl takes for the end of a reply. */
        return status_of(call) == 101 ? NP_CALL_BAD_FRAMING : NP_CALL_RESET;
    }
    if (code == CURLE_RECV_ERROR && strstr(call->error, "chunk")) {
        return NP_CALL_BAD_FRAMING; /* libcurl has no result of its own for malformed chunks */
    }
    if (header_too_long(code, call)) {
        return NP_CALL_TOO_LARGE;
    }
    if (code == CURLE_OPERATION_TIMEDOUT) { /* libcurl's own 5 minutes for connecting */
        return call->sent ? NP_CALL_TOTAL_TIMEOUT : NP_CALL_CONNECT_TIMEOUT;
    }
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == code) {
            return meanings[i].how;
        }
    }
    return call->sent ? NP_CALL_RESET : NP_CALL_NO_CONNECTION;
}

const char *np_how_text(CURLcode code, const struct np_call *call)
{
    if (code == CURLE_COULDNT_CONNECT && call->refused) {
        return "the address is link-local or a metadata service";
    }
    if (header_too_long(code, call)) {
        return "a header of the reply is longer than 100 KB";
    }
    if (code == CURLE_OK) {
        return "the reply has no final head";
    }
    return call->error[0] != '\0' ? call->error : curl_easy_strerror(code);
}

void np_how_detail(char *out, size_t size, const char *text)
{
    size_t n = 0;
    while (text[n] != '\0' && n + 1 < size) {
        unsigned char c = (unsigned char)text[n];
        out[n++] = c < 0x20 || c >= 0x7f ? ' ' : (char)c;
    }
    out[n] = '\0';
    const char *url = strstr(text, "://");
    if (url && (size_t)(url - text) < n) {
        n = (size_t)(url - text);
        while (n > 0 && out[n - 1] != ' ') {
            n--;
        }
        out[n] = '\0';
    }
}
