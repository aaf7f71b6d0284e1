/* A load generator for one chat endpoint on loopback: one thread, epoll, keep-alive.
 *
 * Closed loop (--rate 0): each connection sends its next request when the last was answered.
 * Open loop (--rate R): request i is meant to leave at start + i/R, whatever became of the others, and
 * its latency counts from that moment, so that a stall is charged to every request it held up.
 *
 * Every request carries a sequence number where its template has "##########"; every answer is compared
 * with the expected one (response.h). Bounded by --requests and --seconds, whichever comes first; what
 * is under way then is waited for, at most --timeout-s. Prints one JSON object.
 */
#include "loop.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static double own_cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void print_count(const char *name, uint64_t count)
{
    printf("\"%s\":%llu,", name, (unsigned long long)count);
}

static void report(const struct load *load)
{
    const struct counts *counts = &load->counts;
    double seconds = (double)(now_ns() - load->start_ns) / 1e9;
    uint64_t meant = load->options.rate > 0 ? due_count(load, load->stop_ns - 1) : counts->sent;
    printf("{\"seconds\":%.6f,\"own_cpu_us\":%.0f,", seconds, own_cpu_us());
    print_count("sent", counts->sent);
    print_count("unsent", meant - counts->sent);
    print_count("answered", counts->answered);
    print_count("right", counts->right);
    print_count("wrong_status", counts->wrong_status);
    print_count("wrong_body", counts->wrong_body);
    print_count("broken", counts->broken);
    print_count("closed", counts->closed);
    print_count("timed_out", counts->timed_out);
    print_count("refused", counts->refused);
    print_count("reconnects", counts->reconnects);
    print_count("events", counts->events);
    print_count("bytes", counts->bytes);
    printf("\"latency_us\":");
    histogram_print(&load->latency, stdout);
    printf(",\"first_byte_us\":");
    histogram_print(&load->first_byte, stdout);
    printf("}\n");
}

static double parse_real(const char *flag, const char *text, double high)
{
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= 0 && number <= high))
        die("--%s must be from 0 to %g, not \"%s\"", flag, high, text);
    return number;
}

static const char usage[] =
    "usage: load --port P --body FILE (--expect FILE | --stream-chunks N) [--address 127.0.0.1]\n"
    "            [--path /v1/chat/completions] [--connections 64] [--rate 0] [--requests 10000]\n"
    "            [--seconds 10] [--warmup 0] [--first-sequence 1] [--timeout-s 10]\n"
    "--body     the request's body, with one ########## for the sequence number\n"
    "--expect   the answer's whole body (upstream --print-body); --stream-chunks expects SSE\n"
    "--rate     requests per second in open loop; 0 is closed loop\n"
    "--warmup   that many first requests are sent and checked, but not in the latencies\n"
    "Exits 0 when every answer was right, else 1.\n";

static void read_flag(struct load *load, int flag, const char *text)
{
    struct options *options = &load->options;
    switch (flag) {
    case 'e': expect_body(&load->expected, text); break;
    case 's':
        load->expected.is_stream = true;
        load->expected.content_count = (unsigned)parse_number("stream-chunks", text, 1, 99999);
        break;
    case 'P': options->path = text; break;
    case 'c':
        options->connections = (unsigned)parse_number("connections", text, 1, CONNECTIONS_MAX);
        break;
    case 'r': options->rate = parse_real("rate", text, 1e6); break;
    case 'n': options->requests = parse_number("requests", text, 1, 100000000); break;
    case 't': options->seconds = parse_real("seconds", text, 3600); break;
    case 'w': options->warmup = parse_number("warmup", text, 0, 100000000); break;
    case 'q': options->first_sequence = parse_number("first-sequence", text, 0, 9000000000); break;
    case 'o': options->timeout_s = parse_real("timeout-s", text, 600); break;
    case 'h': fputs(usage, stdout); exit(0);
    default: fputs(usage, stderr); exit(2);
    }
}

static const char *read_flags(struct load *load, int count, char **arguments)
{
    static const struct option flags[] = {
        {"address", required_argument, NULL, 'a'},     {"port", required_argument, NULL, 'p'},
        {"body", required_argument, NULL, 'b'},        {"expect", required_argument, NULL, 'e'},
        {"stream-chunks", required_argument, NULL, 's'}, {"path", required_argument, NULL, 'P'},
        {"connections", required_argument, NULL, 'c'}, {"rate", required_argument, NULL, 'r'},
        {"requests", required_argument, NULL, 'n'},    {"seconds", required_argument, NULL, 't'},
        {"warmup", required_argument, NULL, 'w'},      {"first-sequence", required_argument, NULL, 'q'},
        {"timeout-s", required_argument, NULL, 'o'},   {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    const char *address = "127.0.0.1", *body = NULL;
    uint16_t port = 0;
    int flag;
    while ((flag = getopt_long(count, arguments, "", flags, NULL)) != -1) {
        if (flag == 'a')
            address = optarg;
        else if (flag == 'p')
            port = (uint16_t)parse_number("port", optarg, 1, 65535);
        else if (flag == 'b')
            body = optarg;
        else
            read_flag(load, flag, optarg);
    }
    if (port == 0 || body == NULL || load->expected.is_stream == (load->expected.body != NULL))
        die("--port, --body and either --expect or --stream-chunks are needed\n%s", usage);
    load->options.address = loopback_address(address, port);
    return body;
}

int main(int count, char **arguments)
{
    static struct load load;
    load.options = (struct options){.path = "/v1/chat/completions", .connections = 64,
                                    .requests = 10000, .first_sequence = 1, .seconds = 10,
                                    .timeout_s = 10};
    const char *body = read_flags(&load, count, arguments);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlive the runner */
    prctl(PR_SET_TIMERSLACK, 1);      /* the default 50 us would blur the intended times */
    prepare_request(&load, body);
    connect_all(&load);
    run(&load);
    report(&load);
    return load.counts.right == load.counts.sent && load.counts.sent > 0 ? 0 : 1;
}
