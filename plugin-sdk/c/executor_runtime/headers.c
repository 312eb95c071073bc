/* The headers of a request, and those that go on after a redirect. */
#include "http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define USER_AGENT "executor-runtime-sdk-c/1.0.0"
#define LETTERS_AND_DIGITS "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* The three lists are those of plugin-sdk/protocol/src/secret_name.rs; a test of the SDK for Python compares them. */

/* How a word in the name of a header ends that holds a secret. A plural counts too. */
static const char *const SECRET_WORDS[] = {
    "assertion", "auth", "authentication", "authorization", "bearer", "cookie",
    "credential", "dpop", "jwt", "key", "otp", "passcode",
    "passphrase", "passwd", "password", "pwd", "secret", "sessid",
    "session", "sessionid", "signature", "token",
    NULL};
/* Words that say so on their own, and not as the end of another, such as "bypass". */
static const char *const SECRET_WHOLE_WORDS[] = {
    "cred", "csrf", "pass", "sid", "sig", "xsrf",
    NULL};
/* Names that have such a word and hold no secret. */
static const char *const NOT_SECRET[] = {
    "idempotency-key", "x-idempotency-key", "cache-key", "x-cache-key", "partition-key", "routing-key",
    "sec-websocket-key", "surrogate-key",
    NULL};

static bool is_one_of(const char *word, size_t length, const char *const *words) {
    for (; *words; words++)
        if (strlen(*words) == length && !strncasecmp(word, *words, length)) return true;
    return false;
}

static bool ends_with_one_of(const char *word, size_t length, const char *const *words) {
    for (; *words; words++) {
        size_t own = strlen(*words);
        if (own <= length && !strncasecmp(word + length - own, *words, own)) return true;
    }
    return false;
}

static bool is_secret(const char *word, size_t length) {
    size_t singular = length && (word[length - 1] | 0x20) == 's' ? length - 1 : length;
    return ends_with_one_of(word, singular, SECRET_WORDS) || is_one_of(word, length, SECRET_WHOLE_WORDS) ||
           is_one_of(word, singular, SECRET_WHOLE_WORDS);
}

/* Whether the name of a header says that it holds a secret: `x-api-key`, `private-token`. */
static bool holds_secret(const char *name) {
    if (is_one_of(name, strlen(name), NOT_SECRET)) return false;
    for (;;) {
        size_t length = strspn(name, LETTERS_AND_DIGITS);
        if (is_secret(name, length)) return true;
        if (!name[length]) return false;
        name += length + 1;
    }
}

bool er_is_token(const char *text) { return *text && !text[strspn(text, LETTERS_AND_DIGITS "!#$%&'*+-.^_`|~")]; }

static bool has_control_character(const char *text) {
    for (; *text; text++)
        if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7f) return true;
    return false;
}

/* Those of a request: the plugin's own, and what every request has. */
bool er_request_headers(const er_request *request, struct er_exchange *exchange) {
    struct er_memory *memory = &exchange->memory;
    static const char *const hosts[] = {"connection",         "host",                "http2-settings",
                                        "keep-alive",         "proxy-authenticate",  "proxy-authorization",
                                        "proxy-connection",   "transfer-encoding",   "upgrade",
                                        NULL};
    size_t own = 0;
    while (request->headers && request->headers[own].key) own++;
    er_pair *headers = er_take(memory, (own + 2) * sizeof *headers);
    size_t count = 0;
    bool agent = false, length = false;
    for (size_t i = 0; i < own; i++) {
        const er_pair *header = &request->headers[i];
        if (is_one_of(header->key, strlen(header->key), hosts))
            return er_invalid_request("the host sets the header ", header->key);
        if (!er_is_token(header->key) || has_control_character(header->value))
            return er_invalid_request("this header is not valid: ", header->key);
        agent |= !strcasecmp(header->key, "user-agent");
        length |= !strcasecmp(header->key, "content-length");
        headers[count++] = *header;
    }
    if (!agent) headers[count++] = (er_pair){"user-agent", USER_AGENT};
    if (request->body && !length) {
        char *text = er_take(memory, 21);
        sprintf(text, "%zu", request->body_length);
        headers[count++] = (er_pair){"content-length", text};
    }
    exchange->headers = headers;
    exchange->headers_length = count;
    return true;
}

const char *er_find_header(const er_pair *headers, size_t length, const char *name) {
    for (size_t i = 0; i < length; i++)
        if (!strcasecmp(headers[i].key, name)) return headers[i].value;
    return NULL;
}

/* Leaves out what does not go to the next address. */
void er_redirect_headers(struct er_exchange *exchange, bool drops_body, bool other_origin) {
    static const char *const about_body[] = {"content-length",   "content-type",     "content-encoding",
                                             "content-language", "content-location", NULL};
    er_pair *kept = er_take(&exchange->memory, (exchange->headers_length + 1) * sizeof *kept);
    size_t count = 0;
    for (size_t i = 0; i < exchange->headers_length; i++) {
        const char *name = exchange->headers[i].key;
        if (drops_body && is_one_of(name, strlen(name), about_body)) continue;
        if (other_origin && holds_secret(name)) continue;
        kept[count++] = exchange->headers[i];
    }
    exchange->headers = kept;
    exchange->headers_length = count;
}
