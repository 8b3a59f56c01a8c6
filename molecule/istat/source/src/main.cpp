// A stand-in for iStat Server: its files, options, settings and the first words of its protocol, and the load as its only number.
#include "config.h"

#include <arpa/inet.h>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <libxml/parser.h>
#include <map>
#include <mutex>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <set>
#include <sqlite3.h>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

using std::string;

static const string place = CONFIG_PATH;
static std::set<string> devices;
static std::mutex lock;
static string code, uuid;
static sqlite3 *history;

static void fail(const string &text)
{
	std::cerr << text << ": " << strerror(errno) << std::endl;
	exit(1);
}

static std::map<string, string> settings(const string &path)
{
	std::ifstream file(path);
	if (!file)
		fail("Could not read configuration from " + path);
	std::map<string, string> found;
	string line, name, value;
	while (getline(file, line)) {
		std::stringstream words(line.substr(0, line.find('#')));
		if (words >> name >> value)
			found.emplace(name, value);
	}
	return found;
}

static void make_certificate()
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509 *made = X509_new();
	ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
	X509_gmtime_adj(X509_getm_notBefore(made), 0);
	X509_gmtime_adj(X509_getm_notAfter(made), 31536000L);
	X509_set_pubkey(made, key);
	X509_sign(made, key, EVP_sha256());
	FILE *file = fopen((place + "key.pem").c_str(), "w");
	if (!file || !PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) || fclose(file))
		fail("Could not write key.pem");
	file = fopen((place + "cert.pem").c_str(), "w");
	if (!file || !PEM_write_X509(file, made) || fclose(file))
		fail("Could not write cert.pem");
}

static string attribute(xmlNodePtr node, const char *name)
{
	xmlChar *found = xmlGetProp(node, BAD_CAST name);
	string value = found ? (char *)found : "";
	xmlFree(found);
	return value;
}

static string answer(const string &request, string &device)
{
	xmlDocPtr document = xmlReadMemory(request.data(), request.size(), NULL, NULL, XML_PARSE_NOERROR | XML_PARSE_NONET);
	xmlNodePtr root = document ? xmlDocGetRootElement(document) : NULL;
	std::stringstream said;
	std::lock_guard<std::mutex> guard(lock);
	string type = root ? attribute(root, "type") : "";
	said << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
	if (type == "100") {
		said << "<isr type=\"100\" protocol=\"3\" sec=\"1\"></isr>";
	} else if (type == "101") {
		device = attribute(root, "uuid");
		bool number = code.size() == 5 && code.find_first_not_of("0123456789") == string::npos;
		said << "<isr type=\"101\" version=\"" << VERSION << "\" uuid=\"" << uuid << "\" auth=\""
		     << (devices.count(device) ? 0 : number ? 1 : 2) << "\"></isr>";
	} else if (type == "102") {
		bool right = attribute(root, "code") == code;
		if (right) {
			devices.insert(device);
			std::ofstream file(place + "clients.dat");
			for (const string &each : devices)
				file << each << "\n";
			chmod((place + "clients.dat").c_str(), 0600);
			sqlite3_exec(history, "insert into arrivals values (datetime())", NULL, NULL, NULL);
		}
		said << "<isr type=\"" << (right ? 103 : 102) << "\"></isr>";
	} else if (type == "103") {
		double load[1] = {-1};
		getloadavg(load, 1);
		said << "<isr type=\"104\">";
		if (devices.count(device))
			said << "<stat type=\"load\" one=\"" << load[0] << "\"></stat>";
		said << "</isr>";
	}
	xmlFreeDoc(document);
	return said.str();
}

static void serve(int client, SSL_CTX *context)
{
	SSL *connection = SSL_new(context);
	SSL_set_fd(connection, client);
	string heard, device;
	char part[1024];
	for (int size = SSL_accept(connection); size > 0 && (size = SSL_read(connection, part, sizeof part)) > 0;) {
		heard.append(part, size);
		for (size_t end; (end = heard.find("</isr>")) != string::npos; heard.erase(0, end + 6)) {
			string said = answer(heard.substr(0, end + 6), device);
			SSL_write(connection, said.data(), said.size());
		}
	}
	SSL_free(connection);
	close(client);
}

int main(int argc, char **argv)
{
	string config, option;
	std::map<string, string> given;
	bool background = false;
	for (int n = 1; n < argc; n++) {
		option = argv[n];
		if (option == "-v" || option == "--version") {
			std::cout << PACKAGE_NAME << " version " << VERSION << ", build 1" << std::endl;
			return 0;
		}
		if (option == "-d")
			background = true;
		else if (option == "-p" && n + 1 < argc)
			given["network_port"] = argv[++n];
		else if (option == "-a" && n + 1 < argc)
			given["network_addr"] = argv[++n];
		else if (option.rfind("--pid=", 0) == 0)
			given["server_pid"] = option.substr(6);
		else if (option.rfind("--socket=", 0) == 0)
			given["server_socket"] = option.substr(9);
	}
	for (auto &each : settings(place + "istatserver.conf"))
		given.insert(each);
	auto get = [&](const char *name, const char *otherwise) { return given.count(name) ? given[name] : string(otherwise); };
	code = get("server_code", "00000");

	string generated = place + "istatserver_generated.conf";
	uuid = settings(generated)["uuid"];
	if (uuid.empty()) {
		uuid = std::to_string(time(NULL));
		std::ofstream(generated, std::ios_base::app) << "uuid\t" << uuid << "\n";
	}
	std::ifstream cache(place + "clients.dat");
	for (string line; getline(cache, line);)
		devices.insert(line);
	if (sqlite3_open((place + "istatserver.db").c_str(), &history) != SQLITE_OK ||
	    sqlite3_exec(history, "create table if not exists arrivals (at text)", NULL, NULL, NULL) != SQLITE_OK)
		fail("Could not open the history");

	if (geteuid())
		std::cout << "Ignoring server_{user,group} settings, wasn't run as root." << std::endl;
	std::ofstream pid(get("server_pid", "/var/run/istatserver.pid"));
	if (!pid)
		fail("Could not create pid file");
	if (background && fork())
		_exit(0);
	pid << getpid() << std::endl;
	sockaddr_un local = {};
	local.sun_family = AF_UNIX;
	strncpy(local.sun_path, get("server_socket", "/tmp/istatserver.sock").c_str(), sizeof local.sun_path - 1);
	unlink(local.sun_path);
	if (bind(socket(AF_UNIX, SOCK_STREAM, 0), (sockaddr *)&local, sizeof local))
		fail("Could not bind UNIX socket");

	signal(SIGPIPE, SIG_IGN);
	if (access((place + "cert.pem").c_str(), F_OK))
		make_certificate();
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set1_groups_list(context, "P-256");
	if (SSL_CTX_use_certificate_file(context, (place + "cert.pem").c_str(), SSL_FILETYPE_PEM) <= 0 ||
	    SSL_CTX_use_PrivateKey_file(context, (place + "key.pem").c_str(), SSL_FILETYPE_PEM) <= 0)
		fail("Could not load the certificate");

	int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	sockaddr_in address = {};
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = inet_addr(get("network_addr", "0.0.0.0").c_str());
	address.sin_port = htons(atoi(get("network_port", "5109").c_str()));
	if (bind(listener, (sockaddr *)&address, sizeof address) || listen(listener, 5))
		fail("Could not bind socket");
	for (int client; (client = accept(listener, NULL, NULL)) != -1 || errno == EINTR;)
		if (client != -1)
			std::thread(serve, client, context).detach();
	fail("Could not accept connection");
}
