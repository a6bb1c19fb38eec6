/* A blocking GET. */
#include "provider/fetch.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_MS 3000L
#define TOTAL_MS 15000L

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct np_buf *body = ctx;
    return np_buf_put(body, p, size * n) ? 0 : size * n;
}

/* The header with the token; NULL without one. */
static struct curl_slist *headers_of(const char *token)
{
    char line[1024];
    if (!token || !token[0])
        return NULL;
    int n = snprintf(line, sizeof line, "Authorization: Bearer %s", token);
    struct curl_slist *list =
        n > 0 && (size_t)n < sizeof line ? curl_slist_append(NULL, line) : NULL;
    explicit_bzero(line, sizeof line);
    return list;
}

static void set_options(CURL *easy, const char *url, struct curl_slist *headers,
                        struct np_buf *body, char error[CURL_ERROR_SIZE])
{
    (void)curl_easy_setopt(easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TOTAL_MS);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
}

static bool judge(CURLcode code, unsigned status, const char *url, const char *token,
                  const char *error, char *why, size_t size)
{
    if (code != CURLE_OK)
        (void)snprintf(why, size, "%s: %s", url, error[0] ? error : curl_easy_strerror(code));
    else if (status == 401 && token && token[0])
        (void)snprintf(why, size, "%s does not take the token of NEAP_ADMIN_TOKEN: it has another",
                       url);
    else if (status == 401)
        (void)snprintf(why, size, "%s asks for a token: set NEAP_ADMIN_TOKEN", url);
    else if (status >= 400)
        (void)snprintf(why, size, "%s answered %u", url, status);
    else
        return true;
    return false;
}

bool np_fetch_get(const char *url, const char *token, struct np_buf *body, unsigned *status,
                  char *why, size_t size)
{
    char error[CURL_ERROR_SIZE] = "";
    long code = 0;
    *status = 0;
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = headers_of(token);
    if (!easy) {
        (void)snprintf(why, size, "no memory to ask %s", url);
        curl_slist_free_all(headers);
        return false;
    }
    set_options(easy, url, headers, body, error);
    CURLcode end = curl_easy_perform(easy);
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    *status = (unsigned)code;
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    return judge(end, *status, url, token, error, why, size);
}
