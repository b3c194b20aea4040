/* Every process sends its host's name to the first one, which prints them in order: so the network
 * between the nodes is used, not only the start of the processes. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void leave(int number)
{
    (void)number;
    _exit(0);
}

int main(int argc, char **argv)
{
    int rank, size, length;
    char name[MPI_MAX_PROCESSOR_NAME] = "", *all = NULL;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(name, &length);
    if (rank == 0 && (all = malloc((size_t)size * sizeof name)) == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Gather(name, sizeof name, MPI_CHAR, all, sizeof name, MPI_CHAR, 0, MPI_COMM_WORLD);
    for (int other = 0; rank == 0 && other < size; other++)
        printf("rank %d of %d on %s\n", other, size, all + (size_t)other * sizeof name);
    fflush(stdout);
    MPI_Barrier(MPI_COMM_WORLD);
    /* Debian 12's MPICH 4.0.2 over UCX hangs in every fourth MPI_Finalize: the first process there waits for
     * the others and no longer answers them (cured in 4.1.2, https://github.com/pmodels/mpich/pull/6596). */
    signal(SIGALRM, leave);
    alarm(2);
    MPI_Finalize();
    free(all);
    return 0;
}
