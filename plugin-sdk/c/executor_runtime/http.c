/* The HTTP client: redirects, retries, the request to stop. What sends a single request is the host. */
#include "host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_REDIRECTS 20
#define USER_AGENT "executor-runtime-sdk-c/1.0.0"

static bool invalid(const char *why, const char *what) {
    er_set_error(REJECTED, "invalid_request", "http error: the request can't be sent: %s'%s'", why, what);
    return false;
}

static bool is_one_of(const char *word, size_t length, const char *const *words, bool at_end) {
    for (; *words; words++) {
        size_t own = strlen(*words);
        if (own == length ? !strncasecmp(word, *words, own)
                          : at_end && own < length && !strncasecmp(word + length - own, *words, own))
            return true;
    }
    return false;
}

/* ---- Addresses -------------------------------------------------------------------------------------------------- */

struct url {
    bool secure;
    /* The host, and the port if there is one. */
    const char *authority;
    /* The path, and the query if there is one. */
    const char *target;
};

/* An absolute http or https URL; false: it is none. */
static bool parse(const char *text, struct url *url) {
    size_t length;
    if (!strncasecmp(text, "https://", 8)) {
        url->secure = true;
        text += 8;
    } else if (!strncasecmp(text, "http://", 7)) {
        url->secure = false;
        text += 7;
    } else {
        return false;
    }
    length = strcspn(text, "/?#");
    if (!length || memchr(text, '@', length)) return false;
    for (size_t i = 0; text[i]; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f || (i < length && (text[i] & 0x80))) return false;
    char *authority = er_copy_text(text, length);
    for (char *c = authority; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c += 'a' - 'A';
    url->authority = authority;
    text += length;
    length = strcspn(text, "#");
    char *target = er_allocate(3 * length + 2), *end = target;
    if (*text != '/') *end++ = '/';
    for (size_t i = 0; i < length; i++)
        if (strchr("\"<>\\^`{|}", text[i]) || text[i] & 0x80)
            end += sprintf(end, "%%%02X", (unsigned char)text[i]);
        else
            *end++ = text[i];
    *end = 0;
    url->target = target;
    return true;
}

static const char *written(const struct url *url, const char *target) {
    char *text = er_allocate(strlen(url->authority) + strlen(target) + 9);
    sprintf(text, "http%s://%s%s", url->secure ? "s" : "", url->authority, target);
    return text;
}

/* Takes "." and ".." out of a path (RFC 3986, section 5.2.4), in place. */
static void without_dots(char *path) {
    size_t length = strcspn(path, "?");
    char *from = path, *to = path, *end = path + length;
    while (from < end) {
        size_t segment = 1;
        while (from + segment < end && from[segment] != '/') segment++;
        bool last = from + segment == end;
        if (segment == 2 && from[1] == '.') {
            if (last) *to++ = '/';
        } else if (segment == 3 && from[1] == '.' && from[2] == '.') {
            while (to > path && *--to != '/') {}
            if (last) *to++ = '/';
        } else {
            memmove(to, from, segment);
            to += segment;
        }
        from += segment;
    }
    memmove(to, end, strlen(end) + 1);
}

/* The address that a redirect names, seen from the one that was asked. */
static bool join(const struct url *base, const char *location, struct url *url) {
    size_t scheme = strcspn(location, ":/?#");
    if (location[scheme] == ':') return parse(location, url);
    char *text;
    if (!strncmp(location, "//", 2)) {
        text = er_allocate(strlen(location) + 7);
        sprintf(text, "http%s:%s", base->secure ? "s" : "", location);
        return parse(text, url);
    }
    size_t kept = strlen(base->target);
    if (*location == '/')
        kept = 0;
    else if (*location == '?')
        kept = strcspn(base->target, "?");
    else if (*location && *location != '#') {
        kept = strcspn(base->target, "?");
        while (kept && base->target[kept - 1] != '/') kept--;
    }
    text = er_allocate(kept + strlen(location) + 1);
    memcpy(text, base->target, kept);
    strcpy(text + kept, location);
    without_dots(text);
    return parse(written(base, text), url);
}

static const char *with_port(const struct url *url) {
    const char *colon = strrchr(url->authority, ':');
    if (colon && !strchr(colon, ']')) return url->authority;
    char *text = er_allocate(strlen(url->authority) + 5);
    sprintf(text, "%s:%s", url->authority, url->secure ? "443" : "80");
    return text;
}

static bool same_origin(const struct url *a, const struct url *b) {
    return a->secure == b->secure && !strcmp(with_port(a), with_port(b));
}

/* ---- Headers ---------------------------------------------------------------------------------------------------- */

/* Whether the name of a header says that it holds a secret: `x-api-key`, `private-token`. A plural counts too. */
static bool holds_secret(const char *name) {
    static const char *const words[] = {"auth",   "authentication", "authorization", "cookie",  "credential", "jwt",  "key",
                                        "passwd", "password",       "secret",        "session", "sessionid",  "token", NULL};
    static const char *const others[] = {"idempotency-key", "x-idempotency-key", "cache-key",         "x-cache-key",
                                         "partition-key",   "routing-key",       "sec-websocket-key", "surrogate-key",
                                         NULL};
    if (is_one_of(name, strlen(name), others, false)) return false;
    while (*name) {
        size_t length = 0;
        while ((name[length] | 0x20) >= 'a' && (name[length] | 0x20) <= 'z') length++;
        while (name[length] >= '0' && name[length] <= '9') length++;
        if (length && is_one_of(name, length, words, true)) return true;
        if (length > 1 && (name[length - 1] | 0x20) == 's' && is_one_of(name, length - 1, words, true)) return true;
        name += length ? length : 1;
    }
    return false;
}

/* Those of a request: the plugin's own, and what every request has. */
static bool request_headers(const er_request *request, er_pair **headers, size_t *count) {
    static const char *const hosts[] = {"connection",         "host",                "http2-settings",
                                        "keep-alive",         "proxy-authenticate",  "proxy-authorization",
                                        "proxy-connection",   "transfer-encoding",   "upgrade",
                                        NULL};
    size_t own = 0;
    while (request->headers && request->headers[own].key) own++;
    *headers = er_allocate((own + 2) * sizeof **headers);
    *count = 0;
    bool agent = false, length = false;
    for (size_t i = 0; i < own; i++) {
        const er_pair *header = &request->headers[i];
        if (is_one_of(header->key, strlen(header->key), hosts, false))
            return invalid("the host sets the header ", header->key);
        if (!*header->key || header->key[strcspn(header->key, " \t\r\n:")] || header->value[strcspn(header->value, "\r\n")])
            return invalid("this header is not valid: ", header->key);
        agent |= !strcasecmp(header->key, "user-agent");
        length |= !strcasecmp(header->key, "content-length");
        (*headers)[(*count)++] = *header;
    }
    if (!agent) (*headers)[(*count)++] = (er_pair){"user-agent", USER_AGENT};
    if (request->body && !length) {
        char *text = er_allocate(21);
        sprintf(text, "%zu", request->body_length);
        (*headers)[(*count)++] = (er_pair){"content-length", text};
    }
    return true;
}

static const char *header(const er_pair *headers, size_t length, const char *name) {
    for (size_t i = 0; i < length; i++)
        if (!strcasecmp(headers[i].key, name)) return headers[i].value;
    return NULL;
}

/* Leaves out what does not go to the next address. */
static void redirected_headers(struct er_exchange *exchange, bool drops_body, bool other_origin) {
    static const char *const about_body[] = {"content-length",   "content-type",     "content-encoding",
                                             "content-language", "content-location", NULL};
    er_pair *kept = er_allocate((exchange->headers_length + 1) * sizeof *kept);
    size_t count = 0;
    for (size_t i = 0; i < exchange->headers_length; i++) {
        const char *name = exchange->headers[i].key;
        if (drops_body && is_one_of(name, strlen(name), about_body, false)) continue;
        if (other_origin && holds_secret(name)) continue;
        kept[count++] = exchange->headers[i];
    }
    exchange->headers = kept;
    exchange->headers_length = count;
}

/* ---- Retries ---------------------------------------------------------------------------------------------------- */

static bool may_pass(int status) {
    return status == 408 || status == 425 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

/* Seconds since 1970 of a date such as "Wed, 21 Oct 2015 07:28:00 GMT" (RFC 9110, section 5.6.7); -1 if it is none. */
static int64_t date(const char *text) {
    int day, year, hour, minute, second;
    char month[4];
    if (!text || sscanf(text, "%*3s, %d %3s %d %d:%d:%d GMT", &day, month, &year, &hour, &minute, &second) != 6) return -1;
    const char *months = "JanFebMarAprMayJunJulAugSepOctNovDec", *found = strstr(months, month);
    if (!found || strlen(month) != 3) return -1;
    /* Days from the civil calendar, of years that begin in March. */
    int64_t m = (found - months) / 3 + 1, y = year - (m <= 2);
    int64_t days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + day - 1 - 719468;
    return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

/* The seconds that Retry-After asks for, 0 if none (RFC 9110, section 10.2.3): a date is seen from the server's clock. */
static double retry_after(const er_pair *headers, size_t length) {
    const char *value = header(headers, length, "retry-after");
    if (!value) return 0;
    if (*value && !value[strspn(value, "0123456789")]) return strtod(value, NULL);
    int64_t then = date(value), now = date(header(headers, length, "date"));
    if (then < 0) return 0;
    if (now < 0) now = er_host_time();
    return then > now ? (double)(then - now) : 0;
}

/* How long to wait before the request is sent again, after so many retries; below 0: it is not. */
static double wait_before(const er_request *request, unsigned retries, double asked) {
    double first = request->first_wait > 0 ? request->first_wait : 0.5;
    double longest = request->longest_wait > 0 ? request->longest_wait : 60;
    if (retries >= request->retries || asked > longest) return -1;
    double wait = first * (double)(1ull << (retries < 60 ? retries : 60));
    if (wait > longest) wait = longest;
    wait *= 1 - (double)(er_host_random() >> 11) * 0x1p-53 / 2;
    return wait > asked ? wait : asked;
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

/* When a run that was told to stop has to stop using the network: the last quarter is for returning. */
static uint64_t last_moment(void) {
    static uint64_t seen;
    if (!seen) seen = er_host_now();
    return seen + er_host_grace() / 4 * 3;
}

static bool redirects(int status) { return (status >= 301 && status <= 303) || status == 307 || status == 308; }

/* Sends a request, and follows where it leads. */
static er_response *follow(const er_request *request, struct url url, struct er_exchange *exchange) {
    int allowed = request->redirects ? request->redirects : MAX_REDIRECTS;
    for (int followed = 0;;) {
        er_pair *headers;
        size_t length;
        exchange->secure = url.secure;
        exchange->authority = url.authority;
        exchange->target = url.target;
        exchange->transient = false;
        int status = er_host_send(exchange, &headers, &length);
        if (!status) return NULL;
        const char *location = header(headers, length, "location");
        if (allowed < 0 || !location || !redirects(status)) {
            er_response *response = er_allocate(sizeof *response);
            *response = (er_response){status, written(&url, url.target), headers, length, exchange};
            return response;
        }
        er_host_close(exchange);
        if (++followed > allowed) {
            er_set_error(FAILED, "redirect", "http error: more than %d redirects", allowed);
            return NULL;
        }
        struct url next;
        if (!join(&url, location, &next)) {
            er_set_error(FAILED, "redirect", "http error: a redirect that can't be followed: to '%s', which is not a URL",
                         location);
            return NULL;
        }
        if (url.secure && !next.secure) {
            er_set_error(FAILED, "redirect",
                         "http error: a redirect that can't be followed: from https to 'http://%s%.*s', which would send the "
                         "request on unencrypted",
                         next.authority, (int)strcspn(next.target, "?"), next.target);
            return NULL;
        }
        bool drops_body = status <= 303;
        if (drops_body) {
            if (strcmp(exchange->method, "HEAD")) exchange->method = "GET";
            exchange->body = NULL;
            exchange->body_length = 0;
        }
        redirected_headers(exchange, drops_body, !same_origin(&url, &next));
        url = next;
    }
}

/* One attempt. */
static er_response *attempt(const er_request *request, const char *method, const struct url *url) {
    if (!request->after_stop && er_stop_requested()) {
        er_set_stopped("an HTTP request");
        return NULL;
    }
    struct er_exchange *exchange = er_allocate(sizeof *exchange);
    *exchange = (struct er_exchange){.method = method,
                                     .body = request->body,
                                     .body_length = request->body_length,
                                     .until = NEVER,
                                     .heeds_stop = !request->after_stop};
    if (request->timeout > 0) exchange->until = er_host_now() + (uint64_t)(request->timeout * NANOSECONDS);
    if (request->after_stop && last_moment() < exchange->until) exchange->until = last_moment();
    er_pair *headers;
    if (!request_headers(request, &headers, &exchange->headers_length)) return NULL;
    exchange->headers = headers;
    er_response *response = follow(request, *url, exchange);
    if (!response && exchange->transient) {
        /* For the caller, who has nothing else of it. */
        static er_response failed;
        failed = (er_response){.exchange = exchange};
        return &failed;
    }
    return response;
}

static bool pause_before(const er_request *request, double seconds) {
    if (!request->after_stop) return er_sleep(seconds);
    uint64_t nanoseconds = (uint64_t)(seconds * NANOSECONDS);
    if (er_host_now() + nanoseconds >= last_moment()) {
        er_set_error(FAILED, "timeout", "http error: timed out");
        return false;
    }
    er_host_pause(nanoseconds);
    return true;
}

static bool is_idempotent(const char *method) {
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", NULL};
    return is_one_of(method, strlen(method), methods, false);
}

er_response *er_send(const er_request *request) {
    struct url url;
    const char *method = request->method ? request->method : "GET";
    if (!parse(request->url, &url)) {
        invalid("it has to be an absolute http or https URL in ASCII, without a user name: ", request->url);
        return NULL;
    }
    bool repeats = request->retry_any_method || is_idempotent(method);
    for (unsigned retries = 0;; retries++) {
        er_response *response = attempt(request, method, &url);
        bool failed = !response || !response->status;
        double wait = -1;
        if (repeats && response && (failed || may_pass(response->status)))
            wait = wait_before(request, retries, retry_after(response->headers, response->headers_length));
        if (wait < 0) return failed ? NULL : response;
        if (failed)
            er_log(ER_DEBUG, "trying again in %.1f s: %s", wait, er_error_summary());
        else
            er_log(ER_DEBUG, "trying again in %.1f s: %s answered %d", wait, response->url, response->status);
        er_close(response);
        if (!pause_before(request, wait)) return NULL;
    }
}

const char *er_header(const er_response *response, const char *name) {
    return header(response->headers, response->headers_length, name);
}

long er_read(er_response *response, void *buffer, size_t size) { return er_host_read(response->exchange, buffer, size); }

char *er_read_text(er_response *response, size_t limit) {
    size_t room = 4096, length = 0;
    char *text = er_allocate(room + 1);
    for (;;) {
        if (length == room) {
            char *larger = er_allocate(2 * room + 1);
            memcpy(larger, text, length);
            free(text);
            text = larger;
            room *= 2;
        }
        long read = er_read(response, text + length, room - length);
        if (read < 0) return NULL;
        if (!read) break;
        length += (size_t)read;
        if (length > limit) {
            er_set_error(FAILED, "network", "http error: the answer of %s is longer than %zu bytes", response->url, limit);
            return NULL;
        }
    }
    text[length] = 0;
    return text;
}

bool er_copy(er_response *response, er_artifact *artifact, uint64_t *bytes) {
    static char buffer[16 * 1024];
    uint64_t copied = 0;
    for (long read; (read = er_read(response, buffer, sizeof buffer)) != 0; copied += (uint64_t)read)
        if (read < 0 || !er_write(artifact, buffer, (size_t)read)) return false;
    if (bytes) *bytes = copied;
    return true;
}

void er_close(er_response *response) {
    if (response->exchange) er_host_close(response->exchange);
}
