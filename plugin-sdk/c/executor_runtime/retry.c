/* When a request is sent again. */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool er_may_pass(int status) {
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
double er_retry_after(const er_pair *headers, size_t length) {
    const char *value = er_find_header(headers, length, "retry-after");
    if (!value) return 0;
    if (*value && !value[strspn(value, "0123456789")]) return strtod(value, NULL);
    int64_t then = date(value), now = date(er_find_header(headers, length, "date"));
    if (then < 0) return 0;
    if (now < 0) now = er_host_time();
    return then > now ? (double)(then - now) : 0;
}

/* How long to wait before the request is sent again, after so many retries; below 0: it is not. */
double er_wait_before(const er_request *request, unsigned retries, double asked) {
    double first = request->first_wait > 0 ? request->first_wait : 0.5;
    double longest = request->longest_wait > 0 ? request->longest_wait : 60;
    if (retries >= request->retries || asked > longest) return -1;
    double wait = first * (double)(1ull << (retries < 60 ? retries : 60));
    if (wait > longest) wait = longest;
    wait *= 1 - (double)(er_host_random() >> 11) * 0x1p-53 / 2;
    return wait > asked ? wait : asked;
}
