/* The token estimate, held against counts of o200k_base (made with gpt-tokenizer 4.0). */
#include "model/tokens.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"

static const struct {
    const char *name;
    int64_t exact;
    const char *text;
} samples[] = {
    {"english", 80,
     "I changed my phone yesterday and now the VPN asks for a token that I no longer have."
     " How do I reset my VPN token, and may I do it from home or must I come to the office"
     " first? The service desk told me that the portal sends a code to the second factor,"
     " but the second factor is the phone that I gave back, so the manager has to confirm"
     " the request."},
    {"markdown", 82,
     "## Installing\n"
     "\n"
     "1. Download the archive and unpack it.\n"
     "2. Run `make install` as root; the prefix is `/usr/local` unless `PREFIX=` says other"
     "wise.\n"
     "3. Edit **config.yaml**, then start the service:\n"
     "\n"
     "```\n"
     "systemctl enable --now neap\n"
     "```\n"
     "\n"
     "- Logs go to standard error.\n"
     "- See [the manual](https://example.org/manual) for more.\n"},
    {"german", 93,
     "Ich habe gestern das Telefon gewechselt, und jetzt verlangt der VPN-Zugang einen"
     " Schlüssel, den ich nicht mehr habe. Wie setze ich ihn zurück, und geht das von"
     " zu Hause aus, oder muss ich dafür erst ins Büro kommen? Die Störungsannahme sagte"
     ", dass die Zugangsverwaltung eine Bestätigungsnummer an den zweiten Faktor schickt;"
     " das ist aber das abgegebene Gerät, weshalb die Führungskraft den Antrag freigeben"
     " müsste."},
    {"french", 76,
     "J'ai changé de téléphone hier et le VPN demande maintenant un jeton que je n'ai"
     " plus. Comment puis-je le réinitialiser, et est-ce possible depuis la maison, ou"
     " dois-je d'abord venir au bureau ? Le service d'assistance m'a dit que le portail"
     " envoie un code au deuxième facteur, mais c'est justement l'appareil que j'ai rendu."},
    {"russian", 66,
     "Вчера я сменил телефон, и теперь сеть требует"
     " ключ, которого у меня больше нет. Как мне его"
     " сбросить и можно ли сделать это из дома, или"
     " сначала нужно прийти в офис? В службе поддержк"
     "и сказали, что портал отправляет код на второе"
     " устройство, но именно его я и сдал."},
    {"chinese", 81,
     "我昨天换了手机,现在虚拟专用网要求输入一个我已经没有的令牌"
     "。请问我应该怎样重置这个令牌?可以在家里操作吗,还是必须先到"
     "办公室来?服务台告诉我,门户网站会把验证码发送到第二验证设备"
     ",但那正是我已经交回的手机,所以需要经理确认这个申请。"},
    {"japanese", 73,
     "昨日スマートフォンを交換したところ、社内ネットワークへの接"
     "続でトークンを求められるようになりましたが、古いトークンは"
     "もう手元にありません。どうすれば再設定できますか。自宅から"
     "でも手続きできますか、それともまず事務所に行く必要がありま"
     "すか。"},
    {"c_code", 112,
     "static size_t find_name(const struct np_span *names, size_t n, struct np_span key)\n"
     "{\n"
     "    size_t i = 0;\n"
     "    while (i < n && !np_span_eq(names[i], key))\n"
     "        i++;\n"
     "    return i;\n"
     "}\n"
     "\n"
     "int main(int argc, char **argv)\n"
     "{\n"
     "    for (int i = 1; i < argc; i++) {\n"
     "        if (strcmp(argv[i], \"--help\") == 0)\n"
     "            return usage(stdout, EXIT_SUCCESS);\n"
     "    }\n"
     "    return run(argc, argv);\n"
     "}\n"},
    {"json", 72,
     "{\"requestId\":\"r-1042\",\"user\":{\"name\":\"Ada\",\"active\":true,\"roles\":[\"admin\",\"editor\"]},"
     "\"items\":[{\"sku\":\"AB-12\",\"count\":3,\"price\":19.95},{\"sku\":\"CD-7\",\"count\":1,\"price\":4.5}"
     "],\"total\":64.35,\"note\":null}"},
    {"numbers", 71,
     "2026-11-24,17.25,1034,88.1\n"
     "2026-11-25,16.75,998,91.4\n"
     "2026-11-26,18.02,1107,86.9\n"
     "2026-11-27,15.5,1210,79.03\n"},
    {"emoji", 13, "Done ✅ thanks 🙏🎉 see you tomorrow 👍😀 "},
};

START_TEST(estimates_lie_within_a_quarter_of_the_true_count)
{
    int64_t n = np_tokens_estimate(np_span_of(samples[_i].text), false);
    printf("%-10s exact %3lld estimate %3lld error %+4lld %%, bytes %4zu\n", samples[_i].name,
           (long long)samples[_i].exact, (long long)n,
           (long long)((n - samples[_i].exact) * 100 / samples[_i].exact),
           strlen(samples[_i].text));
    ck_assert_int_le(samples[_i].exact, (int64_t)strlen(samples[_i].text));
    ck_assert_msg(n * 100 >= samples[_i].exact * 80 && n * 100 <= samples[_i].exact * 125,
                  "%s: %lld of %lld", samples[_i].name, (long long)n, (long long)samples[_i].exact);
}
END_TEST

START_TEST(escaped_text_is_estimated_as_what_it_stands_for)
{
    struct np_span text = np_span_of(samples[_i].text);
    struct np_buf b;
    np_buf_init(&b, 1 << 16);
    np_json_escape(&b, text);
    ck_assert_int_eq(np_tokens_estimate(np_buf_view(&b), true), np_tokens_estimate(text, false));
    np_buf_reset(&b);
    /* Once more with every character that is not ASCII as \u. */
    for (const unsigned char *p = (const unsigned char *)text.p; *p;) {
        if (*p < 0x80) {
            np_json_escape(&b, np_span_make((const char *)p++, 1));
            continue;
        }
        unsigned length = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
        unsigned c = *p++ & (0x7fu >> length);
        for (unsigned i = 1; i < length; i++)
            c = c << 6 | (*p++ & 0x3fu);
        if (c < 0x10000)
            np_buf_printf(&b, "\\u%04x", c);
        else
            np_buf_printf(&b, "\\u%04X\\u%04X", 0xd800 + ((c - 0x10000) >> 10),
                          0xdc00 + ((c - 0x10000) & 0x3ff));
    }
    ck_assert_int_eq(np_tokens_estimate(np_buf_view(&b), true), np_tokens_estimate(text, false));
    np_buf_free(&b);
}
END_TEST

START_TEST(nothing_has_no_tokens_and_anything_has_one)
{
    ck_assert_int_eq(np_tokens_estimate(NP_SPAN_NONE, true), 0);
    ck_assert_int_eq(np_tokens_estimate(NP_SPAN(""), false), 0);
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        ck_assert_msg(np_tokens_estimate(np_span_make(&byte, 1), false) >= 0, "byte %d", c);
        if (c != ' ' && c != '\t') /* one blank joins what follows */
            ck_assert_msg(np_tokens_estimate(np_span_make(&byte, 1), c != '\\') >= 1, "byte %d", c);
    }
}
END_TEST

START_TEST(many_blanks_are_few_tokens_and_long_digits_are_many)
{
    char text[4000];
    memset(text, ' ', sizeof text);
    ck_assert_int_le(np_tokens_estimate(np_span_make(text, sizeof text), false), 40);
    memset(text, '7', sizeof text);
    int64_t n = np_tokens_estimate(np_span_make(text, sizeof text), false);
    ck_assert(n >= 1300 && n <= 1400);
    memset(text, '-', sizeof text);
    ck_assert_int_le(np_tokens_estimate(np_span_make(text, sizeof text), false), 300);
}
END_TEST

START_TEST(any_bytes_are_read_within_their_bounds)
{
    static const char some[] = "\\\\\\uud8Aaz09  \n\"\xf0\x9f\xe2\xc3\xff\x80-";
    uint32_t seed = 5;
    for (int i = 0; i < 200000; i++) {
        size_t n = (size_t)i % 20;
        char *text = malloc(n ? n : 1);
        ck_assert_ptr_nonnull(text);
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            text[k] = some[(seed >> 8) % (sizeof some - 1)];
        }
        int64_t tokens = np_tokens_estimate(np_span_make(text, n), i & 1);
        ck_assert(tokens >= 0 && tokens <= 3 * (int64_t)n);
        free(text);
    }
}
END_TEST

START_TEST(a_word_of_a_megabyte_takes_no_time)
{
    size_t n = 1 << 20;
    char *text = malloc(n);
    ck_assert_ptr_nonnull(text);
    memset(text, 'a', n);
    clock_t start = clock();
    ck_assert_int_gt(np_tokens_estimate(np_span_make(text, n), true), 100000);
    ck_assert_int_lt((int64_t)(clock() - start), CLOCKS_PER_SEC / 2);
    free(text);
}
END_TEST

int main(void)
{
    int count = (int)(sizeof samples / sizeof samples[0]);
    Suite *s = suite_create("tokens");
    TCase *t = tcase_create("tokens");
    tcase_add_loop_test(t, estimates_lie_within_a_quarter_of_the_true_count, 0, count);
    tcase_add_loop_test(t, escaped_text_is_estimated_as_what_it_stands_for, 0, count);
    tcase_add_test(t, nothing_has_no_tokens_and_anything_has_one);
    tcase_add_test(t, many_blanks_are_few_tokens_and_long_digits_are_many);
    tcase_add_test(t, any_bytes_are_read_within_their_bounds);
    tcase_add_test(t, a_word_of_a_megabyte_takes_no_time);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
