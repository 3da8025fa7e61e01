/* Loaded before a daemon that can only listen on all addresses (slurmdbd): it listens on the loopback address. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*bind_function)(int, const struct sockaddr *, socklen_t);

int bind(int socket, const struct sockaddr *address, socklen_t length)
{
	bind_function next = (bind_function)dlsym(RTLD_NEXT, "bind");
	struct sockaddr_storage copy;

	if (address == NULL || length > sizeof copy)
		return next(socket, address, length);
	memcpy(&copy, address, length);
	if (copy.ss_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)&copy;
		if (v4->sin_addr.s_addr == htonl(INADDR_ANY))
			v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else if (copy.ss_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&copy;
		if (memcmp(&v6->sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
			v6->sin6_addr = in6addr_loopback;
	}
	return next(socket, (struct sockaddr *)&copy, length);
}
