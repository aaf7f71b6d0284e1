#include "answers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void find_places(struct template *template)
{
    const char *from = template->text;
    const char *end = template->text + template->size;
    while ((from = find(from, (size_t)(end - from), "##########")) != NULL) {
        if (template->sequence_count == 2)
            die("a template has more than two sequence numbers");
        template->sequence_places[template->sequence_count++] = (size_t)(from - template->text);
        from += SEQUENCE_DIGITS;
    }
    const char *index = find(template->text, template->size, "@@@@@@@@@@");
    template->index_place = index == NULL ? 0 : (size_t)(index - template->text);
}

static void __attribute__((format(printf, 2, 3))) fill(struct template *template, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(template->text, sizeof template->text, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof template->text)
        die("a template does not fit");
    template->size = (size_t)size;
    find_places(template);
}

void write_body(char *body)
{
    static const char before[] =
        "{\"id\":\"chatcmpl-bench-##########\",\"object\":\"chat.completion\",\"created\":1760000000,"
        "\"model\":\"bench-1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"Answer ##########:";
    static const char after[] =
        "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":221,\"completion_tokens\":118,\"total_tokens\":339,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}},"
        "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\"}";
    static const char words[] = " the signal at the junction shows clear and the points are set;";
    size_t size = strlen(before);
    memcpy(body, before, size);
    for (size_t i = 0; size < BODY_BYTES - strlen(after); i++)
        body[size++] = words[i % strlen(words)];
    memcpy(body + size, after, sizeof after);
}

static void fill_json(struct template *template, const char *status, const char *body)
{
    fill(template, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
         status, strlen(body), body);
}

/* One SSE event as one HTTP chunk. `delta` and `finish` are JSON; usage is "" or a member. */
static void fill_event(struct template *template, const char *head, const char *choices,
                       const char *usage)
{
    char event[1024];
    int size = snprintf(event, sizeof event,
                        "data: {\"id\":\"chatcmpl-bench-##########\",\"object\":"
                        "\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"bench-1\","
                        "\"system_fingerprint\":\"fp_bench\",\"choices\":[%s]%s}\n\n",
                        choices, usage);
    fill(template, "%s%x\r\n%s\r\n", head, (unsigned)size, event);
}

void fill_templates(struct templates *all)
{
    static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                               "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
    static const char role[] = "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                               "\"logprobs\":null,\"finish_reason\":null}";
    static const char content[] = "{\"index\":0,\"delta\":{\"content\":\" w@@@@@@@@@@\"},"
                                  "\"logprobs\":null,\"finish_reason\":null}";
    static const char finish[] =
        "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}";
    char body[BODY_BYTES + 1];
    write_body(body);
    fill_json(&all->completion, "200 OK", body);
    fill_json(&all->models, "200 OK",
              "{\"object\":\"list\",\"data\":[{\"id\":\"bench-1\",\"object\":\"model\","
              "\"created\":1760000000,\"owned_by\":\"bench\"}]}");
    fill_json(&all->missing, "404 Not Found",
              "{\"error\":{\"message\":\"no such path\",\"type\":\"invalid_request_error\","
              "\"param\":null,\"code\":\"unknown_url\"}}");
    fill_json(&all->too_large, "413 Content Too Large",
              "{\"error\":{\"message\":\"over 64 KiB, or no length\",\"type\":"
              "\"invalid_request_error\",\"param\":null,\"code\":\"request_too_large\"}}");
    for (int asked = 0; asked < 2; asked++) {
        const char *usage = asked ? ",\"usage\":null" : "";
        fill_event(&all->role[asked], head, role, usage);
        fill_event(&all->content[asked], "", content, usage);
        fill_event(&all->finish[asked], "", finish, usage);
    }
    fill_event(&all->usage, "", "",
               ",\"usage\":{\"prompt_tokens\":221,\"completion_tokens\":100,\"total_tokens\":321}");
    fill(&all->done, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
}

size_t copy_stamped(char *place, const struct template *template, uint64_t sequence,
                           uint64_t index)
{
    memcpy(place, template->text, template->size);
    for (unsigned i = 0; i < template->sequence_count; i++)
        stamp(place + template->sequence_places[i], sequence);
    if (template->index_place > 0)
        stamp(place + template->index_place, index);
    return template->size;
}
