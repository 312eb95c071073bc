/* Addresses: what can be asked for, and where a redirect leads (RFC 3986, section 5). */
#include "http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* An absolute http or https URL; false: it is none. */
bool er_parse_url(struct er_memory *memory, const char *text, struct er_url *url) {
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
    char *authority = er_take(memory, length + 1);
    memcpy(authority, text, length);
    authority[length] = 0;
    for (char *c = authority; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c += 'a' - 'A';
    url->authority = authority;
    text += length;
    length = strcspn(text, "#");
    char *target = er_take(memory, 3 * length + 2), *end = target;
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

const char *er_written_url(struct er_memory *memory, const struct er_url *url, const char *target) {
    char *text = er_take(memory, strlen(url->authority) + strlen(target) + 9);
    sprintf(text, "http%s://%s%s", url->secure ? "s" : "", url->authority, target);
    return text;
}

/* Takes "." and ".." out of a path (RFC 3986, section 5.2.4), in place. */
static void without_dots(char *path) {
    size_t length = strcspn(path, "?#");
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
bool er_join_url(struct er_memory *memory, const struct er_url *base, const char *location, struct er_url *url) {
    size_t scheme = strcspn(location, ":/?#");
    if (location[scheme] == ':') return er_parse_url(memory, location, url);
    char *text;
    if (!strncmp(location, "//", 2)) {
        text = er_take(memory, strlen(location) + 7);
        sprintf(text, "http%s:%s", base->secure ? "s" : "", location);
        return er_parse_url(memory, text, url);
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
    text = er_take(memory, kept + strlen(location) + 1);
    memcpy(text, base->target, kept);
    strcpy(text + kept, location);
    without_dots(text);
    return er_parse_url(memory, er_written_url(memory, base, text), url);
}

/* The length of the host, and the port as text; without one the scheme's own. */
static size_t host_and_port(const struct er_url *url, const char **port) {
    const char *colon = strrchr(url->authority, ':');
    if (colon && !strchr(colon, ']')) {
        *port = colon + 1;
        return (size_t)(colon - url->authority);
    }
    *port = url->secure ? "443" : "80";
    return strlen(url->authority);
}

bool er_same_origin(const struct er_url *a, const struct er_url *b) {
    const char *port, *other_port;
    size_t length = host_and_port(a, &port), other_length = host_and_port(b, &other_port);
    return a->secure == b->secure && length == other_length && !memcmp(a->authority, b->authority, length) &&
           !strcmp(port, other_port);
}

const char *er_shown_url(struct er_memory *memory, const char *url) {
    size_t length = strcspn(url, "?#");
    char *shown = er_take(memory, length + 1);
    memcpy(shown, url, length);
    shown[length] = 0;
    char *authority = strstr(shown, "//"), *user = NULL;
    if (!authority) return shown;
    authority += 2;
    for (char *c = authority; *c && *c != '/'; c++)
        if (*c == '@') user = c;
    if (user) memmove(authority, user + 1, strlen(user));
    return shown;
}
